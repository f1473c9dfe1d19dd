// The panel beside the map: figures, decisions by reason, the latest decisions, and one person.

import { life } from "./life.js";
import { ago, clock, figure, gate, gateDetail, language, purpose, reason, rhythm, shortReason } from "./words.js";

const byId = (id) => document.getElementById(id);
const SPARK = 45;
const KEPT = 60;

export function make(tag, name, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Pings, lookups and decisions a second. */
export class Figures {
  constructor() {
    this._pings = [];
  }

  show(stats, phones) {
    byId("pings").textContent = figure(stats.pings_per_s);
    byId("lookup-p50").textContent = figure(stats.lookup_us?.p50);
    byId("lookup-p99").textContent = figure(stats.lookup_us?.p99);
    byId("decision-p50").textContent = figure(stats.decision_ms?.p50);
    byId("decision-p99").textContent = figure(stats.decision_ms?.p99);
    const count = (value, word) => `${Number(value ?? 0).toLocaleString("en")} ${word}`;
    byId("counts").textContent = [count(phones, "people"), count(stats.fences, "fences"), count(stats.streams, "open streams")].join(" · ");
    this._pings.push(stats.pings_per_s ?? 0);
    if (this._pings.length > SPARK) this._pings.shift();
    this._spark();
  }

  _spark() {
    const top = Math.max(...this._pings, 1) * 1.15;
    const points = this._pings.map((value, i) => `${((i + SPARK - this._pings.length) * 120) / (SPARK - 1)},${(36 - (value / top) * 34).toFixed(1)}`);
    byId("spark").firstElementChild.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
  }
}

/** One bar for offers and one for each reason of silence, the longest first. */
export class Bars {
  constructor() {
    this._rows = new Map();
  }

  show(decisions) {
    const entries = Object.entries(decisions).filter(([, n]) => n > 0);
    entries.sort(([a, n], [b, m]) => (b === "offer") - (a === "offer") || m - n || a.localeCompare(b));
    const most = Math.max(...entries.map(([, n]) => n), 1);
    const total = entries.reduce((sum, [, n]) => sum + n, 0);
    byId("decided").textContent = total === 0 ? "" : `${total.toLocaleString("en")} in this run`;
    for (const [code, n] of entries) {
      const row = this._row(code);
      row.count.textContent = n.toLocaleString("en");
      row.bar.style.transform = `scaleX(${Math.max(0.008, n / most)})`;
    }
    const order = entries.map(([code]) => this._rows.get(code).node);
    const list = byId("bars");
    order.forEach((node, i) => list.children[i] === node || list.insertBefore(node, list.children[i] ?? null));
    while (list.children.length > order.length) list.lastElementChild.remove();
  }

  _row(code) {
    if (!this._rows.has(code)) {
      const count = make("span", "count");
      const bar = make("i", "");
      const label = make("span", "label", shortReason(code));
      const node = make("li", code === "offer" ? "is-offer" : "", label, make("span", "track", bar), count);
      node.title = reason(code);
      this._rows.set(code, { node, bar, count });
    }
    return this._rows.get(code);
  }
}

/** The latest decisions; a click chooses the person. */
export class Latest {
  constructor({ placeName, onChoose }) {
    this._placeName = placeName;
    this._onChoose = onChoose;
    this._list = byId("feed");
    this._show = "all";
    for (const button of document.querySelectorAll(".filter button")) {
      button.addEventListener("click", () => this._filter(button.dataset.show));
    }
    setInterval(() => this._refresh(), 1000);
  }

  reset(decisions, lives) {
    this._list.replaceChildren();
    for (const decision of decisions) this.add(decision);
    for (const one of lives) this.live(one);
  }

  /** Shows how far an offer has come, where its row is still there. */
  live({ offer, steps }) {
    const item = this._list.querySelector(`li[data-offer="${CSS.escape(offer)}"]`);
    if (!item) return;
    item.querySelector(".lived")?.remove();
    item.append(life(steps));
  }

  add(decision) {
    const isOffer = decision.outcome === "offer";
    const when = Date.parse(decision.at ?? "") || Date.now();
    const time = make("time", "", ago(when, Date.now()));
    time.dataset.when = when;
    const what = isOffer ? (decision.offer?.title ?? "Offer") : reason(decision.reason);
    const button = make(
      "button",
      isOffer ? "row is-offer" : "row",
      make("i", "sign"),
      make("span", "who", make("b", "", decision.name), " ", make("span", "place", this._placeName(decision.fence))),
      time,
      make("span", "what", what),
    );
    button.type = "button";
    button.addEventListener("click", () => this._onChoose(decision.n));
    const item = make("li", "", button);
    item.dataset.outcome = decision.outcome;
    if (isOffer) item.dataset.offer = decision.offer?.id ?? "";
    item.hidden = this._show !== "all" && this._show !== decision.outcome;
    this._list.prepend(item);
    while (this._list.children.length > KEPT) this._list.lastElementChild.remove();
  }

  _filter(show) {
    this._show = show;
    for (const button of document.querySelectorAll(".filter button")) {
      button.setAttribute("aria-pressed", String(button.dataset.show === show));
    }
    for (const item of this._list.children) item.hidden = show !== "all" && item.dataset.outcome !== show;
  }

  _refresh() {
    for (const time of this._list.querySelectorAll("time[data-when]")) time.textContent = ago(Number(time.dataset.when), Date.now());
  }
}

/** One person: what they agreed to, how often they want to hear from us, and why they last did or did not. */
export class Person {
  constructor({ placeName, onClose }) {
    this._element = byId("person");
    this._overview = byId("overview");
    this._placeName = placeName;
    this._onClose = onClose;
    this._shown = undefined;
    addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  get shown() {
    return this._shown;
  }

  async open(n) {
    this._shown = n;
    const answer = await fetch(`/demo/people/${n}`).catch(() => null);
    if (this._shown !== n) return;
    if (!answer?.ok) {
      this.close();
      return;
    }
    this._fill(await answer.json());
    const first = this._element.hidden;
    this._element.hidden = false;
    this._overview.hidden = true;
    if (first) this._element.querySelector("button").focus({ preventScroll: true });
    if (first && this._element.getBoundingClientRect().top < 0) this._element.scrollIntoView();
  }

  close() {
    if (this._shown === undefined) return;
    this._shown = undefined;
    this._element.hidden = true;
    this._overview.hidden = false;
    this._onClose();
  }

  _fill(person) {
    const back = make("button", "back", "Back");
    back.type = "button";
    back.addEventListener("click", () => this.close());
    const held = this._element.contains(document.activeElement);
    const name = make("h2", "", person.name);
    name.id = "person-name";
    this._element.replaceChildren(
      make("div", "heading", name, back),
      make("p", "kind", `${person.kind} · ${language(person.locale)}`),
      facts(person),
      ...this._decision(person).filter((part) => part !== null),
    );
    if (held) back.focus({ preventScroll: true });
  }

  _decision({ decision, title, time_zone: zone }) {
    if (!decision) return [make("p", "none", "Nothing was decided for them yet.")];
    const isOffer = decision.outcome === "offer";
    const place = this._placeName(decision.transitions?.[0]?.fence ?? decision.fence);
    const verdict = isOffer ? "An offer" : reason(decision.reason);
    return [
      make("h3", "", "Last decision"),
      make(
        "p",
        isOffer ? "verdict is-offer" : "verdict",
        make("i", "sign"),
        make("span", "", make("b", "", verdict), isOffer && title ? make("span", "", title) : null, make("small", "", place)),
      ),
      decision.delivery ? life(decision.delivery.steps) : null,
      make("ol", "gates", ...(decision.gates ?? []).map((asked) => gateRow(asked, zone))),
    ];
  }
}

function gateRow({ gate: code, passed, detail }, zone) {
  const words = gateDetail(code, detail, zone);
  const state = make("i", "state", passed ? "✓" : "✕");
  state.setAttribute("role", "img");
  state.setAttribute("aria-label", passed ? "passed" : "failed");
  return make("li", passed ? "" : "failed", state, make("span", "", gate(code), words ? make("small", "", words) : null));
}

function facts(person) {
  const granted = person.consents.length === 0 ? "to nothing" : `to ${person.consents.map(purpose).join(", ")}`;
  const list = make("dl", "facts");
  const add = (term, value) => list.append(make("dt", "", term), make("dd", "", value));
  add("Agreed", granted);
  add("Rhythm", rhythm(person.rhythm) + (person.default_rhythm ? " (the default)" : ""));
  add("Their time", clock(Date.now(), person.time_zone));
  return list;
}
