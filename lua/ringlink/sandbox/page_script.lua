--- The page's script. It builds the document with text only (no markup from data), and sends the
--- control token in a header; the token comes by the URL's fragment, which no server sees, and stays
--- in this tab's session storage.
return [==[
"use strict";
const find = (id) => document.getElementById(id);
const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = String(text);
  if (className) node.className = className;
  return node;
};
const KEY = "ringlink-sandbox-token";
if (location.hash.length > 1) {
  sessionStorage.setItem(KEY, location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}
const say = (text, bad) => {
  find("said").textContent = text;
  find("said").className = bad ? "bad" : "";
};
async function call(name, fields) {
  const reading = name === "state" || name === "requests";
  const answer = await fetch("/_sandbox/" + name + (reading && fields ? "?" + new URLSearchParams(fields) : ""), {
    method: reading ? "GET" : "POST",
    headers: { "X-Sandbox-Token": sessionStorage.getItem(KEY) || "", "Content-Type": "application/json" },
    body: reading ? undefined : JSON.stringify(fields || {}),
  });
  const body = await answer.json();
  if (answer.status === 401) show(false);
  if (!answer.ok) throw new Error(body.error || String(answer.status));
  return body;
}
function show(on) {
  find("key").hidden = on;
  for (const node of document.querySelectorAll("main > section:not(#key)")) node.hidden = !on;
}
async function act(text, name, fields) {
  say(text + " …");
  try {
    const answer = await call(name, fields);
    say(text + ": done");
    await refresh();
    return answer;
  } catch (problem) {
    say(text + ": " + problem.message, true);
    return null;
  }
}
function button(text, className, work) {
  const node = make("button", text, className);
  node.type = "button";
  node.addEventListener("click", async () => {
    node.disabled = true;
    await work();
    node.disabled = false;
  });
  return node;
}
function offer(answer) {
  const place = find("continue");
  place.replaceChildren();
  if (!answer) return;
  for (const one of answer.delivered || []) {
    const text = "Token Exchange URL answered " + (one.status || one.error);
    place.append(make("p", text, one.status === 200 ? "good" : "bad"));
  }
  const url = answer.redirect;
  if (url && /^https?:/.test(url)) {
    const link = make("a", "Continue to the partner's sign-in page");
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    place.append(link);
  } else if (answer.nonce) {
    place.append(make("p", "No Account Link URL is set; the redirect would carry time " + answer.time, "quiet"));
  }
}
async function install() {
  const account = find("who").value;
  const fields = { twice: find("twice").checked, redirect: find("at_once").checked ? "at_once" : "after" };
  if (account) fields.account = account;
  if (find("silent").checked) fields.deliver = false;
  offer(await act("Install", "install", fields));
}
const happening = (account, text, fields) =>
  button(text, "", () => act(text, "event", Object.assign({ account: account.id }, fields)));
function accountCard(account) {
  const card = make("div", undefined, "account");
  card.append(make("h3", account.id));
  const line = make("p", "Link: ", "quiet");
  const status = account.status === "none" ? "not begun" : account.status;
  line.append(make("span", status, "status " + (status === "completed" ? "good" : "")));
  line.append(" · " + account.devices.map((one) => one.name + (one.online ? "" : " (offline)")).join(", "));
  card.append(line);
  const device = account.devices[0];
  const row = make("div", undefined, "row");
  row.append(
    button("Sign in again", "", async () => offer(await act("Sign in", "redirect", { account: account.id }))),
    happening(account, "Motion", { type: "motion_detected", subType: "motion" }),
    happening(account, "Person", { type: "motion_detected", subType: "human" }),
    happening(account, "Ring the bell", { type: "button_press" }),
    device.online ? happening(account, "Device goes offline", { type: "device_offline", device: device.id })
      : happening(account, "Device comes back", { type: "device_online", device: device.id }),
    button("Expire access token", "", () => act("Expire", "expire", { account: account.id })),
    button("Remove the app", "danger", () => act("Remove", "unlink", { account: account.id })));
  card.append(row);
  return card;
}
function fill(id, rows, cells) {
  const body = find(id);
  body.replaceChildren();
  for (const one of rows) {
    const line = make("tr");
    for (const [text, className] of cells(one)) line.append(make("td", text === undefined ? "" : text, className));
    body.append(line);
  }
  find(id + "-none").hidden = rows.length > 0;
  body.closest(".scroll").hidden = rows.length === 0;
}
const clockText = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19) + " UTC";
const tried = (one) => one.attempts.map((attempt) => attempt.status || attempt.error).join(", ");
let drawn = "";
function drawAccounts(state) {
  const text = JSON.stringify(state.accounts);
  if (text === drawn) return;
  drawn = text;
  const buttons = () => [...find("accounts").querySelectorAll("button")];
  const focused = buttons().indexOf(document.activeElement);
  find("accounts").replaceChildren(...state.accounts.map(accountCard));
  if (focused >= 0 && buttons()[focused]) buttons()[focused].focus();
  find("accounts-none").hidden = state.accounts.length > 0;
  const who = find("who"), chosen = who.value;
  who.replaceChildren(new Option("a new Ring account", ""), ...state.accounts.map((one) => new Option(one.id, one.id)));
  who.value = state.accounts.some((one) => one.id === chosen) ? chosen : "";
}
function draw(state, requests) {
  find("now").textContent = clockText(state.now_ms);
  drawAccounts(state);
  fill("webhooks", state.webhooks.slice(-15).reverse(), (one) => [[one.type], [one.state,
    one.state === "delivered" ? "good" : ""], [tried(one), "wide"], [one.account, "wide"]]);
  fill("requests", requests.slice(-20).reverse(), (one) => [[one.n], [one.call],
    [one.dropped ? "dropped" : one.status, one.status < 400 ? "good" : "bad"], [one.method + " " + one.path, "wide"],
    [one.fault || "", "wide"]]);
}
async function refresh() {
  const state = await call("state");
  draw(state, await call("requests", { since: Math.max(0, state.requests - 20) }));
}
async function fault() {
  const fields = { call: find("fault-call").value, count: Number(find("fault-count").value) || 1 };
  const kind = find("fault-kind").value;
  if (/^\d+$/.test(kind)) fields.status = Number(kind);
  else if (kind.startsWith("drop-")) fields.drop = kind.slice(5);
  else if (kind === "slow") fields.delay_ms = 8000;
  else fields.body = kind;
  if (fields.status && find("fault-after").checked) fields.after = true;
  await act("Order the fault", "faults", fields);
}
async function tick() {
  if (!document.hidden && !find("accounts-part").hidden) {
    try { await refresh(); } catch (problem) { say("The sandbox does not answer: " + problem.message, true); }
  }
  setTimeout(tick, 2000);
}
find("install-now").replaceWith(button("Install the app", "main", install));
find("order-fault").replaceWith(button("Order the fault", "", fault));
find("reset-now").replaceWith(button("Reset everything", "danger", async () => {
  offer(null);
  await act("Reset", "reset", {});
}));
for (const node of document.querySelectorAll("[data-advance]")) {
  node.replaceWith(button(node.textContent, "", () =>
    act("Clock moved", "clock", { advance_ms: Number(node.dataset.advance) })));
}
find("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, find("token").value.trim());
  find("token").value = "";
  begin();
});
async function begin() {
  if (!sessionStorage.getItem(KEY)) {
    show(false);
    say("The control token is needed.");
    return;
  }
  try {
    show(true);
    await refresh();
    say("Ready");
  } catch (problem) { say(problem.message, true); }
}
begin();
setTimeout(tick, 2000);
]==]
