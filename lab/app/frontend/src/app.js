// SPDX-License-Identifier: GPL-3.0-or-later
// The journal. import.meta.env.* is replaced when the site is built, as Astro does.
const API = import.meta.env.PUBLIC_API_URL;
const RELEASE = import.meta.env.PUBLIC_RELEASE;
const find = (id) => document.getElementById(id);

async function call(path, options = {}) {
  const response = await fetch(API + path, options);
  if (response.ok) return response;
  const reasons = { 413: "That is too long.", 429: "That was quick. Please wait a moment.", 503: "The journal is resting. Please try again soon." };
  throw Object.assign(new Error(reasons[response.status] ?? `The journal answered ${response.status}.`), { status: response.status });
}

// --- the state at the foot of the page ---------------------------------------------------------

function show(id, text, good) {
  find(id).textContent = text;
  find(id).dataset.state = good ? "ok" : "bad";
}

async function showState() {
  try {
    const info = await (await call("/info")).json();
    show("backend", info.release, true);
    show("database", info.database_tls ? `${info.database}, encrypted` : info.database, info.database === "ok");
    show("cache", info.cache, info.cache !== "does not answer");
    find("visits").textContent = info.visits ?? "–";
    if (info.release !== RELEASE) console.info(`page ${RELEASE}, backend ${info.release}`);
  } catch {
    show("backend", "does not answer", false);
    for (const id of ["database", "cache"]) show(id, "unknown", false);
  }
}

// --- who is writing ------------------------------------------------------------------------------

function myName() {
  let name = localStorage.getItem("name");
  if (!name) {
    name = `writer-${Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    localStorage.setItem("name", name);
  }
  return name;
}

let token;
async function asMe(path, body) {
  for (let attempt = 0; ; attempt += 1) {
    if (!token) {
      const headers = { "Content-Type": "application/json" };
      token = (await (await call("/token", { method: "POST", headers, body: JSON.stringify({ name: myName() }) })).json()).token;
    }
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
    try {
      return await call(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
    } catch (error) {
      if (error.status !== 401 || attempt) throw error;
      token = undefined; // it expired, or the server's secret was changed: ask for another, once
    }
  }
}

// --- entries -------------------------------------------------------------------------------------

async function showEarlier() {
  const sessions = await (await asMe("/sessions")).json();
  find("none").hidden = sessions.length > 0;
  find("earlier").replaceChildren(...sessions.map((session) => {
    const item = document.createElement("li");
    const title = document.createElement("span");
    const time = document.createElement("time");
    title.textContent = session.title || "…";
    time.dateTime = session.created_at;
    time.textContent = new Date(session.created_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    item.append(title, time);
    return item;
  }));
}

// Server-sent events by hand: EventSource can neither POST nor carry a token.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const event = lines.find((line) => line.startsWith("event: "))?.slice(7) ?? "message";
      const data = lines.find((line) => line.startsWith("data: "))?.slice(6) ?? "null";
      yield { event, data: JSON.parse(data) };
    }
  }
}

async function keep(text) {
  const title = text.trim().split("\n")[0].slice(0, 120);
  const session = await (await asMe("/sessions", { title })).json();
  const response = await asMe(`/sessions/${session.id}/messages`, { text });
  find("stream").textContent = "";
  find("answer").hidden = false;
  let finished = false;
  for await (const { event, data } of events(response)) {
    if (event === "done") finished = true;
    else find("stream").textContent += data.token;
  }
  if (!finished) throw new Error("The answer broke off. Your entry is kept.");
}

find("entry").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  const notice = find("notice");
  button.disabled = true;
  notice.className = "";
  notice.textContent = "Reading…";
  try {
    await keep(find("text").value);
    find("text").value = "";
    notice.textContent = "Kept.";
  } catch (error) {
    notice.className = "bad";
    notice.textContent = error instanceof TypeError ? "The journal cannot be reached." : error.message;
  } finally {
    button.disabled = false;
    await showEarlier().catch(() => {});
  }
});

showState();
setInterval(() => document.hidden || showState(), 30_000);
showEarlier().catch(() => {});
