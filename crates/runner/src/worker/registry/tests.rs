//! The forwarder over real sockets: it finds the leader's cache and never waits for one.

use onspot_ledger::{ManagerId, MemoryLedger, create, replace};

use super::*;

/// The longest that a test waits for an expected event.
const BOUND: Duration = Duration::from_secs(20);

/// Long enough for a busy machine, and short where a test waits until a limit has passed.
fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        reach: Duration::from_secs(10),
        rest: Duration::from_millis(1),
        stall: Duration::from_mins(1),
        drag: Duration::from_mins(1),
        floor: 1,
        recover: Duration::from_mins(10),
    }
}

/// A cache that answers every line with its name and that line.
async fn cache(name: &'static str) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut line = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut line).await {
                    let answer = [name.as_bytes(), b" ", &line[..length]].concat();
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    (address, task)
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

/// Publishes the cache's address in `run/leader`.
async fn tell(ledger: &dyn Ledger, registry: Option<SocketAddr>) {
    let key = Key::leader();
    let first = Leader::first(&ManagerId::new("m"), "1", jiff::Timestamp::UNIX_EPOCH);
    let next = Leader { registry, ..first };
    let written = match read::<Leader>(ledger, &key).await.unwrap() {
        None => create(ledger, &key, next).await.unwrap(),
        Some(old) => replace(ledger, &key, &old, next).await.unwrap(),
    };
    assert!(written.is_some());
}

/// Where the engine finds the forwarder.
async fn forwarder(ledger: &Arc<MemoryLedger>, patience: Patience) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let ledger: Arc<dyn Ledger> = Arc::<MemoryLedger>::clone(ledger);
    tokio::spawn(Forwarder::new(ledger, patience).accept(listener));
    address
}

/// The answer to a request of the engine on a new connection; `None` if that is closed.
async fn ask(at: SocketAddr, question: &str) -> Option<String> {
    let mut engine = TcpStream::connect(at).await.unwrap();
    answer(&mut engine, question).await
}

async fn answer(engine: &mut TcpStream, question: &str) -> Option<String> {
    let heard = async {
        engine.write_all(question.as_bytes()).await.ok()?;
        let mut heard = [0; 64];
        let length = engine.read(&mut heard).await.ok()?;
        (length > 0).then(|| String::from_utf8_lossy(&heard[..length]).into_owned())
    };
    timeout(BOUND, heard).await.expect("an answer or an end")
}

#[tokio::test]
async fn the_next_leaders_cache_is_found_when_the_last_one_is_gone() {
    let ledger = Arc::new(MemoryLedger::new());
    let (first, task) = cache("first").await;
    tell(&*ledger, Some(first)).await;
    let at = forwarder(&ledger, patience()).await;
    let mut open = TcpStream::connect(at).await.unwrap();
    assert_eq!(answer(&mut open, "a").await.unwrap(), "first a");
    assert_eq!(answer(&mut open, "b").await.unwrap(), "first b");

    // Another manager leads, but the known cache still answers, so the ledger is not read.
    let (second, _) = cache("second").await;
    tell(&*ledger, Some(second)).await;
    assert_eq!(ask(at, "c").await.unwrap(), "first c");

    task.abort();
    let _ = task.await;
    assert_eq!(answer(&mut open, "d").await, None, "it went with its cache");
    assert_eq!(ask(at, "e").await.unwrap(), "second e");
}

#[tokio::test]
async fn where_nobody_answers_the_engine_is_sent_on_at_once() {
    let ledger = Arc::new(MemoryLedger::new());
    let patience = Patience {
        rest: Duration::from_mins(10),
        ..patience()
    };
    // Nobody leads; a leader without a cache; a leader whose cache does not run.
    for registry in [None, Some(None), Some(Some(nobody().await))] {
        if let Some(registry) = registry {
            tell(&*ledger, registry).await;
        }
        let at = forwarder(&ledger, patience).await;
        assert_eq!(ask(at, "a").await, None);
        // That is remembered: for a while nothing is tried again, even under a new leader.
        let (there, _) = cache("there").await;
        let before = Arc::clone(&ledger);
        tell(&*before, Some(there)).await;
        assert_eq!(ask(at, "b").await, None);
    }
}

#[tokio::test]
async fn a_cache_that_comes_back_is_used_again() {
    let ledger = Arc::new(MemoryLedger::new());
    tell(&*ledger, Some(nobody().await)).await;
    let at = forwarder(&ledger, patience()).await;
    assert_eq!(ask(at, "a").await, None);
    let (there, _) = cache("there").await;
    tell(&*ledger, Some(there)).await;
    let heard = timeout(BOUND, async {
        loop {
            if let Some(heard) = ask(at, "b").await {
                return heard;
            }
        }
    });
    assert_eq!(heard.await.unwrap(), "there b");
}

#[tokio::test]
async fn one_that_takes_questions_and_says_nothing_is_left() {
    let ledger = Arc::new(MemoryLedger::new());
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    tell(&*ledger, Some(mute.local_addr().unwrap())).await;
    let patience = Patience {
        stall: Duration::from_millis(50),
        rest: Duration::from_mins(10),
        ..patience()
    };
    let at = forwarder(&ledger, patience).await;
    assert_eq!(ask(at, "a").await, None);
    let (taken, _) = mute.accept().await.unwrap();
    // A connection would be accepted again, but is not tried.
    assert_eq!(ask(at, "b").await, None);
    drop(taken);
    assert!(futures::FutureExt::now_or_never(mute.accept()).is_none());
}

#[tokio::test]
async fn a_connection_that_nobody_uses_says_nothing_against_the_cache() {
    let ledger = Arc::new(MemoryLedger::new());
    let (there, _) = cache("there").await;
    tell(&*ledger, Some(there)).await;
    let patience = Patience {
        stall: Duration::from_millis(50),
        rest: Duration::from_mins(10),
        ..patience()
    };
    let at = forwarder(&ledger, patience).await;
    let mut open = TcpStream::connect(at).await.unwrap();
    assert_eq!(answer(&mut open, "a").await.unwrap(), "there a");
    let mut rest = Vec::new();
    let ended = timeout(BOUND, open.read_to_end(&mut rest)).await;
    ended.expect("it is closed in the end").unwrap();
    assert_eq!(ask(at, "b").await.unwrap(), "there b");
}

#[tokio::test]
async fn one_that_answers_in_drips_is_left() {
    let ledger = Arc::new(MemoryLedger::new());
    let dripping = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    tell(&*ledger, Some(dripping.local_addr().unwrap())).await;
    let patience = Patience {
        drag: Duration::from_millis(200),
        floor: 1_000_000,
        ..patience()
    };
    let at = forwarder(&ledger, patience).await;
    let drips = tokio::spawn(async move {
        let (mut stream, _) = dripping.accept().await.unwrap();
        while stream.write_all(b"drip").await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
        dripping
    });
    let mut engine = TcpStream::connect(at).await.unwrap();
    engine.write_all(b"a layer?").await.unwrap();
    let mut heard = Vec::new();
    let ended = timeout(BOUND, engine.read_to_end(&mut heard)).await;
    let _ = ended.expect("it is closed in the end");
    assert!(heard.starts_with(b"drip"));
    assert_eq!(
        ask(at, "b").await,
        None,
        "nothing is asked of it for a while"
    );
    let dripping = timeout(BOUND, drips)
        .await
        .expect("it hears of it")
        .unwrap();
    assert!(futures::FutureExt::now_or_never(dripping.accept()).is_none());
}

/// How long it takes until a connection with this traffic each second counts as slow.
async fn slow_after(happens: impl Fn(&Moves, u64)) -> Option<u64> {
    let (moves, patience, begun) = (Moves::default(), Patience::default(), Instant::now());
    let story = async {
        for second in 1..=120 {
            sleep(Duration::from_secs(1)).await;
            happens(&moves, second);
        }
    };
    tokio::select! {
        () = dragged(&moves, &patience) => Some(begun.elapsed().as_secs()),
        () = story => None,
    }
}

#[tokio::test(start_paused = true)]
async fn only_an_answer_that_stays_slow_is_too_slow() {
    let comes = |moves: &Moves, bytes| {
        moves.answered.fetch_add(bytes, Ordering::Relaxed);
    };
    let trickle = slow_after(|moves, _| comes(moves, 100_000)).await;
    assert!(trickle.is_some_and(|after| (20..=25).contains(&after)));
    assert_eq!(slow_after(|moves, _| comes(moves, 300_000)).await, None);
    let unused = slow_after(|moves, second| comes(moves, u64::from(second == 1))).await;
    assert_eq!(unused, None, "its answer is over");
    let many = slow_after(|moves, _| {
        moves.asked.fetch_add(1, Ordering::Relaxed);
        comes(moves, 1000);
    });
    assert_eq!(many.await, None, "small answers to many questions");
    let full = slow_after(|moves, _| {
        moves.full.store(true, Ordering::Relaxed);
        comes(moves, 1000);
    });
    assert_eq!(full.await, None, "the engine is what is slow");
}
