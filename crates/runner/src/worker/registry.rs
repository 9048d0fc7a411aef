//! Forwards connections from this worker's engine to the leader's cache of images.
//!
//! The engine gets one address at boot, on this host's loopback interface, and keeps it: when a
//! manager is replaced, the engine need not be reconfigured. Connections to it are forwarded, byte
//! by byte, to the address in `run/leader`.
//!
//! Nothing here may delay a job. If no cache answers, the connection is closed at once, and the
//! engine tries the next registry that it knows, in the end Docker Hub.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use onspot_ledger::{Key, Leader, Ledger, read};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The pause between two tries to listen or to accept.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// The most bytes that are read at once.
const BUFFER: usize = 64 * 1024;

/// The time limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To open one connection, which in the same network takes a millisecond.
    pub(crate) connect: Duration,
    /// To find a cache that answers, including a look at the current leader.
    pub(crate) reach: Duration,
    /// How long a cache that did not answer is not tried again.
    pub(crate) rest: Duration,
    /// How long a connection may be without traffic.
    pub(crate) stall: Duration,
    /// How long an answer may be slower than [`floor`](Self::floor).
    pub(crate) drag: Duration,
    /// In bytes per second.
    pub(crate) floor: u64,
    /// How long a cache that was too slow is not tried again. This is longer than an engine retries
    /// a layer at the same registry, so that it tries the next one.
    pub(crate) recover: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            reach: Duration::from_secs(3),
            rest: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            drag: Duration::from_secs(20),
            floor: 256 * 1024,
            recover: Duration::from_mins(3),
        }
    }
}

/// Listens on this host's `port` for its engine; never returns.
pub(crate) async fn serve(port: u16, ledger: Arc<dyn Ledger>) {
    let listener = loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => break listener,
            Err(error) => tracing::warn!(
                port, %error, "the way to the cache of images is closed: images come from elsewhere"
            ),
        }
        sleep(TRY_AGAIN).await;
    };
    Forwarder::new(ledger, Patience::default())
        .accept(listener)
        .await;
}

/// Forwards connections to the leader.
struct Forwarder {
    patience: Patience,
    /// Held during the search for a cache, so that connections that arrive meanwhile share its
    /// result.
    way: Mutex<Way>,
    ledger: Arc<dyn Ledger>,
}

/// What is known of the cache.
#[derive(Debug, Default)]
struct Way {
    address: Option<SocketAddr>,
    rests_until: Option<Instant>,
    /// Whether the missing answer was already logged.
    complained: bool,
}

impl Forwarder {
    fn new(ledger: Arc<dyn Ledger>, patience: Patience) -> Arc<Self> {
        Arc::new(Self {
            patience,
            way: Mutex::default(),
            ledger,
        })
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((engine, _)) => {
                        connections.spawn(Arc::clone(&self).carry(engine));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the engine's connection can't be taken");
                        sleep(TRY_AGAIN).await;
                    }
                },
            }
        }
    }

    async fn carry(self: Arc<Self>, engine: TcpStream) {
        // Without a cache the engine's connection is closed at once.
        let Some(cache) = self.reach().await else {
            return;
        };
        let address = cache.peer_addr().ok();
        let rest = match splice(engine, cache, &self.patience).await {
            End::Over => return,
            End::Unanswered => self.patience.rest,
            End::TooSlow => self.patience.recover,
        };
        // What a former leader's cache did says nothing about the present one's.
        let mut way = self.way.lock().await;
        if way.address == address {
            way.rest(rest);
        }
    }

    /// A connection to the cache; `None` if no cache answers soon.
    async fn reach(&self) -> Option<TcpStream> {
        let mut way = self.way.lock().await;
        if way.rests_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let found = way.find(&*self.ledger, self.patience.connect);
        let found = timeout(self.patience.reach, found).await.ok().flatten();
        if found.is_some() {
            way.complained = false;
        } else {
            way.rest(self.patience.rest);
        }
        found
    }
}

impl Way {
    /// Tries the known address, then the one that the leader currently publishes.
    async fn find(&mut self, ledger: &dyn Ledger, patience: Duration) -> Option<TcpStream> {
        if let Some(known) = self.address
            && let Some(cache) = connect(known, patience).await
        {
            return Some(cache);
        }
        let told = match read::<Leader>(ledger, &Key::leader()).await {
            Ok(leader) => leader.and_then(|leader| leader.value.registry),
            Err(error) => {
                tracing::debug!(%error, "the leader's object can't be read");
                return None;
            }
        };
        let before = std::mem::replace(&mut self.address, told);
        match told {
            Some(address) if before != told => connect(address, patience).await,
            _ => None,
        }
    }

    fn rest(&mut self, rest: Duration) {
        self.rests_until = Some(Instant::now() + rest);
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(address = ?self.address,
                "no cache of images answers fast enough: images come from elsewhere");
        }
    }
}

async fn connect(address: SocketAddr, patience: Duration) -> Option<TcpStream> {
    match timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(cache)) => {
            // Small requests and their answers alternate here.
            let _ = cache.set_nodelay(true);
            Some(cache)
        }
        _ => None,
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// One side closed it, or it was idle.
    Over,
    /// The engine sent a request and got no answer.
    Unanswered,
    /// The answer was too slow.
    TooSlow,
}

/// The traffic on a connection.
#[derive(Debug, Default)]
struct Moves {
    /// How often the engine has sent something.
    asked: AtomicU64,
    /// How many bytes came from the cache.
    answered: AtomicU64,
    /// Whether the engine was the last to send something.
    waits: AtomicBool,
    /// Whether the engine is slow to read what the cache has sent.
    full: AtomicBool,
}

impl Moves {
    /// Both counts.
    fn so_far(&self) -> (u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.asked), count(&self.answered))
    }
}

/// Forwards both directions until one side ends, there is no traffic for too long, or the answer is
/// too slow.
async fn splice(mut engine: TcpStream, mut cache: TcpStream, patience: &Patience) -> End {
    let moves = Moves::default();
    let (mut from_engine, mut to_engine) = engine.split();
    let (mut from_cache, mut to_cache) = cache.split();
    let asking = pump(&mut from_engine, &mut to_cache, |passed| {
        if matches!(passed, Passed::Out) {
            return;
        }
        moves.asked.fetch_add(1, Ordering::Relaxed);
        moves.waits.store(true, Ordering::Relaxed);
    });
    let answering = pump(&mut from_cache, &mut to_engine, |passed| match passed {
        Passed::In(length) => {
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            moves.answered.fetch_add(length, Ordering::Relaxed);
            moves.waits.store(false, Ordering::Relaxed);
            moves.full.store(true, Ordering::Relaxed);
        }
        Passed::Out => moves.full.store(false, Ordering::Relaxed),
    });
    tokio::select! {
        _ = async { tokio::try_join!(asking, answering) } => End::Over,
        end = stalled(&moves, patience.stall) => end,
        () = dragged(&moves, patience) => End::TooSlow,
    }
}

/// Returns when there was no traffic for `stall`.
async fn stalled(moves: &Moves, stall: Duration) -> End {
    loop {
        let before = moves.so_far();
        sleep(stall).await;
        if moves.so_far() == before {
            return if moves.waits.load(Ordering::Relaxed) {
                End::Unanswered
            } else {
                End::Over
            };
        }
    }
}

/// The number of parts into which [`drag`](Patience::drag) is divided.
const PARTS: u32 = 4;

/// Returns when one answer was too slow in every part of that time. A part counts as too slow if
/// something arrived in it (after an answer's end nothing does), but too little, and not because
/// the engine read too slowly.
async fn dragged(moves: &Moves, patience: &Patience) {
    let part = patience.drag / PARTS;
    let floor = u128::from(patience.floor) * part.as_millis() / 1000;
    let mut slow = 0;
    while slow < PARTS {
        let (asked, answered) = moves.so_far();
        sleep(part).await;
        let (asks, came) = moves.so_far();
        let came = u128::from(came - answered);
        let too_little = (1..floor).contains(&came) && !moves.full.load(Ordering::Relaxed);
        slow = if asks == asked && too_little {
            slow + 1
        } else {
            0
        };
    }
}

/// What one direction has done.
enum Passed {
    /// This many bytes arrived.
    In(usize),
    /// They were passed on.
    Out,
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    tell: impl Fn(Passed),
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        tell(Passed::In(length));
        to.write_all(&buffer[..length]).await?;
        tell(Passed::Out);
    }
}

#[cfg(test)]
mod tests;
