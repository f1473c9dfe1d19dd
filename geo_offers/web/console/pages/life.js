// An offer's life as a small line of dots, a dot a step, and in words where it ended otherwise than seen.

import { make } from "./panels.js";
import { after, clockSeconds, ending, step, stepHint } from "./words.js";

const ENDS = new Set(["expired", "cancelled", "failed", "refused", "ambiguous"]);
const SEEN = new Set(["shown", "opened", "dismissed", "muted", "redeemed"]);
const TROUBLE = new Set(["token_dead", "auth_broken", "held", "later", "transient", "not_sent", "unreadable", "waiting"]);

/** steps: [{step, at, detail, lane}] in order of time. One step of a name is enough: the first. */
export function life(steps) {
  const told = steps.filter((one, i) => steps.findIndex((other) => other.step === one.step) === i);
  const list = make("ol", "life", ...told.map((one) => dot(one, told[0].at)));
  list.setAttribute("aria-label", "The offer's life");
  const last = told.at(-1);
  const why = last && ENDS.has(last.step) ? make("p", "why", ending(last.step, last.detail)) : null;
  return make("div", "lived", list, why);
}

function dot({ step: code, at }, from) {
  const time = make("time", "", code === "decided" ? clockSeconds(at) : after(Date.parse(from), Date.parse(at)));
  time.dateTime = at;
  const node = make("li", "", make("i", "dot"), make("span", "", step(code)), time);
  node.dataset.kind = ENDS.has(code) ? "end" : SEEN.has(code) ? "seen" : TROUBLE.has(code) ? "trouble" : "way";
  node.title = stepHint(code);
  return node;
}
