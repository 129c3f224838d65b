// The stream of changes: server-sent events, and asking every two seconds where there is no stream.

const POLL_MS = 2000;
const RETRY_MS = 5000;

/** Call `moved` for every version of the folder that is not `seen`; `say` gets the state in words. */
export function follow({ seen, say, moved }) {
  let last = seen;
  let source = null;
  let poll = 0;

  function arrived(version) {
    if (version === last) return;
    last = version;
    moved(version);
  }

  async function ask() {
    try {
      const answer = await fetch("/version", { cache: "no-store" });
      if (answer.status === 401) {
        say("this session has ended: start leonids serve again");
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      say("live, asking every 2 s");
      arrived((await answer.json()).version);
    } catch {
      say("the server is away");
    }
  }

  function listen() {
    source = new EventSource("/events");
    source.onopen = () => {
      say("live");
      clearInterval(poll);
      poll = 0;
    };
    source.addEventListener("moved", (event) => arrived(JSON.parse(event.data)));
    source.onerror = () => {
      say("the server is away");
      if (source.readyState !== EventSource.CLOSED) return;
      if (!poll) poll = setInterval(ask, POLL_MS);
      setTimeout(listen, RETRY_MS);
    };
  }

  // A browser opens six streams to a server at most: a page that nobody looks at gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      clearInterval(poll);
      poll = 0;
    } else {
      listen();
    }
  });
  if (!document.hidden) listen();
}
