// What came of each campaign's arrivals: how many there were, how many came to an offer, and which silences the rest were.

import { make } from "./panels.js";
import { reason } from "./words.js";

const EVERY_MS = 3000;
const LEAST = 0.008;

const number = (n) => n.toLocaleString("en");

export class Campaigns {
  constructor() {
    this._table = document.querySelector(".campaigns");
    this._said = document.getElementById("campaigns-said");
    this._rows = new Map();
    this._opened = undefined;
  }

  /** Asks every few seconds while the table is looked at. */
  watch(looked) {
    clearInterval(this._timer);
    if (!looked) return;
    this._timer = setInterval(() => this._ask(), EVERY_MS);
    this._ask();
  }

  async _ask() {
    if (document.hidden) return;
    const told = await fetch("/demo/campaigns").then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
    if (told) this._show(told);
    else this._say("no answer; asking again");
  }

  _show(told) {
    for (const campaign of told) this._row(campaign).show(campaign);
    const offers = told.reduce((sum, campaign) => sum + campaign.offers, 0);
    this._say(`${number(offers)} offers in this run`);
  }

  _say(words) {
    if (this._said.textContent !== words) this._said.textContent = words;
  }

  _row({ id, name }) {
    if (!this._rows.has(id)) {
      const row = new Row(id, name, () => this._open(this._opened === id ? undefined : id));
      this._rows.set(id, row);
      this._table.append(row.body);
    }
    return this._rows.get(id);
  }

  /** One campaign at a time shows what its arrivals came to. */
  _open(id) {
    this._opened = id;
    for (const [one, row] of this._rows) row.open(one === id);
  }
}

/** A campaign's line, and below it, once it is chosen, each outcome with its count. */
class Row {
  constructor(id, name, onChoose) {
    this._button = make("button", "", name);
    this._button.type = "button";
    this._button.addEventListener("click", onChoose);
    this._button.setAttribute("aria-controls", `outcomes-${id}`);
    this._arrivals = make("td", "count");
    this._offers = make("td", "count");
    const title = make("th", "", this._button);
    title.scope = "row";
    this._sentence = make("caption", "");
    this._outcomes = make("tbody", "");
    const cell = make("td", "", make("table", "outcomes", this._sentence, heads(), this._outcomes));
    cell.colSpan = 3;
    this._detail = make("tr", "detail", cell);
    this._detail.id = `outcomes-${id}`;
    this.body = make("tbody", "", make("tr", "", title, this._arrivals, this._offers), this._detail);
    this.open(false);
  }

  open(opened) {
    this._button.setAttribute("aria-expanded", String(opened));
    this._detail.hidden = !opened;
  }

  show({ decisions, offers, silences }) {
    this._arrivals.textContent = number(decisions);
    this._offers.textContent = number(offers);
    const silent = Object.entries(silences).sort(([a, n], [b, m]) => m - n || a.localeCompare(b));
    this._sentence.textContent = decisions ? `${count(decisions, "arrival")} → ${count(offers, "offer")}, ${count(decisions - offers, "silence")}` : "Nobody has arrived yet.";
    const most = Math.max(offers, ...silent.map(([, n]) => n));
    const outcomes = decisions ? [["offer", offers], ...silent] : [];
    this._outcomes.replaceChildren(...outcomes.map(([code, n]) => outcome(code, n, n / most)));
  }
}

const count = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

/** Said to who hears the table; to who sees it, it is plain. */
function heads() {
  const head = make("tr", "", make("th", "", "What came of it"), make("th", "", "Arrivals"));
  for (const cell of head.children) cell.scope = "col";
  return make("thead", "heard", head);
}

function outcome(code, n, share) {
  const bar = make("i", "");
  bar.style.transform = `scaleX(${Math.max(n && LEAST, share)})`;
  const track = make("span", "track", bar);
  track.setAttribute("aria-hidden", "true");
  const label = make("th", "", reason(code), track);
  label.scope = "row";
  return make("tr", code === "offer" ? "is-offer" : "", label, make("td", "count", number(n)));
}
