// SPDX-License-Identifier: GPL-3.0-or-later
// Asks systemd-journal-gatewayd. What lines say is shown as text, never as markup: whoever can write a log line must not run here.
"use strict";
const LEVELS = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const PAGE = 200, PAGES = 20; // lines of one question, and how many questions one search may take
const get = (id) => document.getElementById(id);
const journal = new URL("journal/", location.origin + location.pathname).href; // without the password, if the page's address has it
let oldest = "";

function text(value) {
  if (Array.isArray(value)) return new TextDecoder().decode(new Uint8Array(value)); // no UTF-8
  return value === undefined || value === null ? "" : String(value);
}

async function fields(name, id) {
  const answer = await fetch(journal + "fields/" + name, { headers: { Accept: "text/plain" } });
  if (!answer.ok) return;
  for (const value of (await answer.text()).split("\n").filter(Boolean).sort()) get(id).add(new Option(value));
}

async function entries(range) {
  const query = new URLSearchParams();
  if (get("service").value) query.append("KASANEHA_DEPLOY_SERVICE", get("service").value);
  if (get("release").value) query.append("KASANEHA_DEPLOY_RELEASE", get("release").value);
  if (get("host").value) query.append("_HOSTNAME", get("host").value);
  const answer = await fetch(journal + "entries?" + query, { headers: { Accept: "application/json", Range: "entries=" + range } });
  if (!answer.ok) throw new Error(answer.status + " " + answer.statusText);
  return (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

function wanted(entry) {
  const needle = get("text").value.toLowerCase();
  return (get("units").checked || entry.KASANEHA_DEPLOY_APP) && Number(entry.PRIORITY ?? 6) <= LEVELS.indexOf(get("level").value) &&
    (!needle || text(entry.MESSAGE).toLowerCase().includes(needle));
}

function row(entry) {
  const service = [entry.KASANEHA_DEPLOY_SERVICE ?? entry._SYSTEMD_UNIT ?? entry.SYSLOG_IDENTIFIER, entry.KASANEHA_DEPLOY_COLOUR, entry.KASANEHA_DEPLOY_RELEASE];
  const time = entry.LOG_TIME ?? new Date(Number(entry.__REALTIME_TIMESTAMP) / 1000).toISOString();
  const tr = document.createElement("tr");
  for (const value of [text(time).slice(0, 23), entry._HOSTNAME, service.filter(Boolean).join("/"), LEVELS[entry.PRIORITY ?? 6], entry.MESSAGE]) {
    const td = tr.insertCell();
    td.textContent = text(value);
  }
  tr.className = entry.PRIORITY <= 3 ? "bad" : entry.PRIORITY == 4 ? "warning" : "";
  return tr;
}

async function search(more) {
  if (!more) { get("lines").replaceChildren(); oldest = ""; }
  get("status").textContent = "searching …";
  try {
    let found = 0;
    for (let page = 0; page < PAGES && found < PAGE; page++) {
      const lines = await entries(oldest ? `${oldest}:-${PAGE}:${PAGE}` : `:-${PAGE - 1}:${PAGE}`);
      if (!lines.length || lines[0].__CURSOR === oldest) break;
      oldest = lines[0].__CURSOR;
      for (const entry of lines.reverse().filter(wanted)) { get("lines").append(row(entry)); found++; }
    }
    get("status").textContent = found + " lines";
  } catch (error) {
    get("status").textContent = String(error);
  }
}

get("search").addEventListener("submit", (event) => { event.preventDefault(); search(false); });
get("older").addEventListener("click", () => search(true));
fields("KASANEHA_DEPLOY_SERVICE", "service");
fields("KASANEHA_DEPLOY_RELEASE", "release");
fields("_HOSTNAME", "host");
search(false);
