// The service's codes in plain words, and how figures and times are written.

const REASONS = {
  offer: ["Offer", "An offer was made"],
  no_consent: ["No consent", "They did not agree to offers"],
  rhythm_gap: ["Too soon", "Too soon after their last offer"],
  rhythm_max: ["Enough for now", "They have had as many as they want"],
  quiet_hours: ["Quiet hours", "Their quiet hours"],
  place_gap: ["Just had one here", "Had an offer around here a moment ago"],
  store_gap: ["Store was heard", "This store has spoken to them already"],
  cap: ["Campaign cap", "The campaign has said enough to them"],
  muted: ["Muted", "They want to hear nothing of this"],
  schedule: ["Not its time", "Not its time, or the store is closed"],
  not_live: ["Not running", "The campaign is not running"],
  kill_switch: ["Switched off", "Offers are switched off"],
  stale: ["News too old", "The arrival was reported too late"],
  outranked: ["Outranked", "Another offer came first"],
  user_inside: ["Already inside", "They are here with another phone"],
  audience: ["Other audience", "Not among those it is meant for"],
  budget: ["Budget spent", "The campaign's budget is spent"],
  holdout: ["Held out", "Kept without offers, to measure them"],
};

const GATES = {
  kill_switch: "Offers are switched on",
  consent: "Consent to be located and to offers",
  live: "Campaign approved and running",
  schedule: "Within the campaign's dates and hours",
  opening_hours: "The store is open",
  context: "What the campaign waits for is on",
  embargo: "Not a day without offers",
  stale: "The news is fresh",
  user_inside: "Not here already with another phone",
  audience: "Among those it is meant for",
  words: "All that its text tells is known",
  muted: "Nothing that they muted",
  quiet_hours: "Outside quiet hours",
  rhythm_max: "Under the number they allow",
  rhythm_gap: "Long enough after the last one",
  place_gap: "No offer around here just now",
  store_gap: "Store not heard lately",
  cap: "Under the caps",
  budget: "Within the budgets",
  ranking: "Best of the campaigns that fit",
  outranked: "Best of the campaigns that fit",
  experiment: "Not among those held out",
  render: "Text in their language",
};

const PURPOSES = {
  locate: "be located",
  offers: "get offers",
  profile: "keep a profile",
  measure: "be measured",
};

/** The steps of an offer's life: a word for its line, and what it means. */
const STEPS = {
  decided: ["decided", "It was decided to make this offer"],
  sending: ["sending", "It was handed to the gateway, or to the phone's open line"],
  offered: ["offered", "It is on the phone's line, which has not said yet that it shows it"],
  accepted: ["accepted", "The gateway took it"],
  shown: ["shown", "The phone showed it"],
  opened: ["opened", "They opened it"],
  dismissed: ["dismissed", "They wiped it away"],
  muted: ["muted", "They want no more of this"],
  redeemed: ["redeemed", "They bought by it"],
  moved: ["to the app", "Push does not reach the phone; it waits in the app"],
  waiting: ["phone away", "The phone has no line open; it is tried when it comes back"],
  held: ["held", "The gateway is slowed down or out of order; it waits its turn"],
  later: ["put off", "The gateway asked to come back later"],
  transient: ["try again", "The gateway could not take it; it is tried again"],
  not_sent: ["no line", "The gateway was not reached; it is tried again"],
  unreadable: ["unreadable", "Its row could not be read; it is tried again"],
  token_dead: ["phone gone", "The gateway knows this phone no more"],
  auth_broken: ["key refused", "The gateway refuses our key; it waits until that is mended"],
  ambiguous: ["no answer", "Nobody answered: it may be shown"],
  refused: ["refused", "The gateway does not take this message"],
  failed: ["failed", "It could not be sent"],
  expired: ["too late", "Its time was over before it was shown"],
  cancelled: ["cancelled", "It was taken back before it was shown"],
};

/** Why an offer ended, beyond what silences an arrival. */
const ENDINGS = {
  left: "They have left",
  withdrawn: "They took back their consent",
  erased: "They had their data erased",
  expired: "Its time was over before it was shown",
  poison: "It failed too often",
  unanswered: "Nobody answered, twice",
};

const plain = (code) => code.replaceAll("_", " ");

export const shortReason = (code) => REASONS[code]?.[0] ?? plain(code);
export const reason = (code) => REASONS[code]?.[1] ?? plain(code);
export const gate = (code) => GATES[code] ?? plain(code);
export const purpose = (code) => PURPOSES[code] ?? plain(code);

export const step = (code) => STEPS[code]?.[0] ?? plain(code);
export const stepHint = (code) => STEPS[code]?.[1] ?? plain(code);

/** How an offer ended and why, as one line; what a gateway said is told as it said it. */
export function ending(code, detail) {
  const why = detail && (ENDINGS[detail] ?? REASONS[detail]?.[1] ?? detail);
  const what = stepHint(code);
  return why && why !== what ? `${what}: ${why}` : what;
}

/** So long after the beginning: +8 ms, +0.4 s, +12 s, +3 min. */
export function after(fromMs, atMs) {
  const ms = Math.max(0, atMs - fromMs);
  if (ms < 100) return `+${Math.round(ms)} ms`;
  if (ms < 9950) return `+${(ms / 1000).toFixed(1)} s`;
  return ms < 100_000 ? `+${Math.round(ms / 1000)} s` : `+${Math.round(ms / 60_000)} min`;
}

export const clockSeconds = (instant) => new Date(instant).toLocaleTimeString("en-GB");

/** Three digits are enough to read at a glance: 0.84, 8.4, 84, 8,400. */
export function figure(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value >= 10 ? value.toFixed(value >= 30 ? 0 : 1) : value.toFixed(value >= 1 ? 1 : 2);
}

export function ago(thenMs, nowMs) {
  const s = Math.max(0, Math.round((nowMs - thenMs) / 1000));
  if (s < 2) return "now";
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
}

const PER = { day: "a day", week: "a week", month: "a month" };
const per = (window) => (typeof window === "string" ? PER[window] : `in any ${window.hours} h`);

/** A person's rhythm as they would say it. */
export function rhythm(r) {
  const lines = [r.max === 0 ? "No ordinary offers" : `At most ${r.max} ${per(r.per)}`];
  if (r.min_gap_h > 0) lines.push(`${gap(r.min_gap_h)} apart`);
  for (const quiet of r.quiet) {
    const days = quiet.days.length === 7 ? "" : ` (${quiet.days.join(", ")})`;
    lines.push(`quiet ${quiet.start}–${quiet.end}${days}`);
  }
  if (r.special.allow && r.special.max > 0) lines.push(`${r.special.max} special ${per(r.special.per)} beside`);
  if (r.channels.length === 0) lines.push("no channel");
  const muted = r.mute.stores.length + r.mute.categories.length + r.mute.campaigns.length;
  if (muted > 0) lines.push(`${count(muted, "mute")}`);
  return lines.join(" · ");
}

function gap(hours) {
  if (hours >= 1) return `${Number(hours.toFixed(1))} h`;
  const minutes = hours * 60;
  return minutes >= 1 ? `${Math.round(minutes)} min` : `${Math.round(minutes * 60)} s`;
}

/** What a gate looked at, as one short line; times on the clock of `zone`. */
export function gateDetail(code, detail, zone) {
  const told = detail ?? {};
  return GATE_DETAILS[code] ? GATE_DETAILS[code](told, (instant) => clock(instant, zone)) : pairs(told);
}

const GATE_DETAILS = {
  kill_switch: () => "",
  consent: (d) => ["locate", "offers"].filter((one) => d[one] === false).map((one) => `not to ${purpose(one)}`).join(", "),
  live: (d) => `${plain(d.state)} · ${count(d.locales, "language")}${d.breaker ? ` · too many opted out of this ${d.breaker}` : ""}`,
  schedule: (d, at) => [d.from && `from ${at(d.from)}`, (d.hours_until ?? d.until) && `until ${at(d.hours_until ?? d.until)}`].filter(Boolean).join(" "),
  opening_hours: (d, at) => (d.open === null ? "it tells no hours" : d.until ? `${d.open ? "until" : "opens"} ${at(d.until)}` : ""),
  context: (d, at) => [d.event, d.why === "purchased" ? "they have bought it" : plain(d.why ?? ""), d.until && `until ${at(d.until)}`].filter(Boolean).join(" · "),
  embargo: (d, at) => [d.on, d.until && `until ${at(d.until)}`].filter(Boolean).join(" · "),
  audience: (d) => [d.profile === false && "they let no profile be kept", d.stage && `stage: ${plain(d.stage)}`, d.failed && `asked: ${plain(d.failed)}`, d.segment].filter(Boolean).join(" · "),
  words: (d) => (d.lacking ? `not known: ${d.lacking.map(plain).join(", ")}` : ""),
  stale: (d) => (d.replay ? "a recorded trip" : `${Number(d.age_s.toFixed(1))} s old, ${d.limit_s} s at most`),
  user_inside: () => "",
  muted: (d) => (d.by === "channel" ? "no channel of theirs reaches this phone" : d.by ? `by ${d.by}` : ""),
  quiet_hours: (d, at) => (d.until ? `until ${at(d.until)}` : ""),
  rhythm_max: (d, at) => `${d.used} of ${d.max} ${per(d.per)}${again(d, at)}${special(d)}`,
  rhythm_gap: (d, at) => `${apart(d.min_gap_h * 2 ** (d.step ?? 0))}${again(d, at)}${special(d)}`,
  place_gap: (d, at) => (d.visit_answered ? "this visit had one" : `${apart(d.gap_s / 3600)}${again(d, at)}`),
  store_gap: (d, at) => `${apart(d.gap_s / 3600)}${again(d, at)}`,
  cap: (d, at) => (d.limit === undefined ? count(d.rules, "cap") : `${d.used} of ${d.limit} in ${count(d.n, d.unit)}${again(d, at)}`),
  budget: (d) => {
    const spent = d[d.level ?? "campaign"] ?? d.store;
    return spent ? `${spent.used ?? 0}${spent.total ? ` of ${spent.total}` : ""} given, ${spent.today ?? 0}${spent.per_day ? ` of ${spent.per_day}` : ""} today` : "none set";
  },
  experiment: (d) => (d.by ? `by the ${d.by}` : d.arm === "main" ? "" : d.arm),
  ranking: (d) => (d.candidates === 1 ? "the only one" : `of ${d.candidates}`),
  render: (d) => (d.locale === d.wanted ? language(d.locale) : `${language(d.locale)}; they read ${language(d.wanted)}`),
};

const special = (d) => (d.special ? ` · special: ${d.special.used} of ${d.special.max} ${per(d.special.per)}` : "");
const again = (d, at) => (d.until ? ` · again from ${at(d.until)}` : "");
const apart = (hours) => (hours > 0 ? `${gap(hours)} apart` : "no gap asked for");
const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

export function language(locale) {
  return new Intl.DisplayNames(["en"], { type: "language" }).of(locale) ?? locale;
}

/** 10:24, with the day where it is not today's. */
export function clock(instant, zone) {
  const day = (when) => when.toLocaleDateString("en-GB", { timeZone: zone, weekday: "short", day: "numeric", month: "short" });
  const when = new Date(instant);
  const time = when.toLocaleTimeString("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
  return day(when) === day(new Date()) ? time : `${day(when)}, ${time}`;
}

/** The details of a gate that this page does not know. */
function pairs(detail) {
  return Object.entries(detail)
    .filter(([, value]) => ["string", "number", "boolean"].includes(typeof value) && value !== "")
    .map(([key, value]) => `${plain(key)} ${typeof value === "boolean" ? (value ? "yes" : "no") : value}`)
    .join(" · ");
}
