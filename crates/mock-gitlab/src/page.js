// Fetch the page again while something is running, and replace what changed. Folded sections stay
// folded, and a reader at the end of a trace stays at its end.
(function refresh() {
  const main = document.querySelector("main");
  const every = Number(main.dataset.every);
  if (!every) return;
  setTimeout(async () => {
    try {
      const text = await (await fetch(location.href)).text();
      const next = new DOMParser().parseFromString(text, "text/html").querySelector("main");
      if (next && next.innerHTML !== main.dataset.last) {
        const atEnd = innerHeight + scrollY >= document.body.scrollHeight - 40;
        for (const old of main.querySelectorAll("details[id]")) {
          const fresh = next.querySelector("#" + CSS.escape(old.id));
          if (fresh) fresh.open = old.open;
        }
        const last = next.innerHTML;
        main.replaceWith(next);
        next.dataset.last = last;
        if (atEnd) scrollTo(0, document.body.scrollHeight);
      }
    } catch (gone) { /* the server was stopped: keep what there is */ }
    refresh();
  }, every * 1000);
})();
