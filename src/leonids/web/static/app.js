// Keeps a page that was read once up to date: charts from their data, the rest from the page itself.
import { upgrade } from "./chart.js";
import { follow } from "./events.js";

const SWAP_EVERY_MS = 800;
const state = document.getElementById("state");
const charts = [...document.querySelectorAll("figure[data-drawn]")].map(upgrade);

/** Replace what the server wrote anew; what a reader has opened or holds the focus stays as it is. */
function swap(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = part.id && fresh.getElementById(part.id);
    // What is nested changes with what holds it.
    if (!other || part.parentElement.closest("[data-live]") || other.innerHTML === part.innerHTML) continue;
    if (part !== document.activeElement && part.contains(document.activeElement)) continue;
    part.replaceChildren(...[...other.childNodes].map((node) => document.importNode(node, true)));
  }
}

let swapping = false;
let again = false;
async function refresh() {
  if (swapping) {
    again = true;
    return;
  }
  swapping = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-Refreshed": "1" } });
    if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The server is away: the stream of changes says when it is back.
  }
  setTimeout(() => {
    swapping = false;
    if (again) {
      again = false;
      refresh();
    }
  }, SWAP_EVERY_MS);
}

for (const form of document.querySelectorAll("form[data-choices]")) {
  form.addEventListener("change", () => form.requestSubmit());
}

follow({
  seen: document.body.dataset.version,
  say: (words) => {
    if (state.textContent !== words) state.textContent = words;
  },
  moved: (version) => {
    for (const chart of charts) chart.refresh();
    refresh();
    document.body.dataset.drawn = version;
  },
});
