// One phone's way beside the probability that it is inside of the fences near it: why an enter came when it came.
// What is drawn comes from the simulator, which knows where its invented people are; the service tells nobody's position.

import { make } from "./panels.js";

const L = window.L;

const EVERY_MS = 1000;
const LINES = ["#0f8a7e", "#6a5aa8", "#b0730c"];
const WIDTH = 344;
const HEIGHT = 118;
const LEFT = 30;
const RIGHT = 8;
const TOP = 12;
const BOTTOM = 16;
const WORDS = { enter: "visit begins", confirm: "certain enough for an offer", dwell: "stays", exit: "visit ends", cross: "passes through" };
const SIGNS = { enter: "●", confirm: "✓", dwell: "■", exit: "○", cross: "×" };

export class Presence {
  /** name(n) and placeName(fence) say what is shown, onShow(n) is told whom; fences are those of the map. */
  constructor(map, fences, { name, placeName, onShow }) {
    this._fences = fences;
    this._name = name;
    this._placeName = placeName;
    this._onShow = onShow;
    this._element = document.getElementById("presence");
    this._chart = document.getElementById("chart");
    this._who = document.getElementById("presence-who");
    this._list = document.getElementById("standings");
    this._marked = [];
    this._asked = 0;
    map.createPane("way").style.zIndex = 430;
    this._way = L.layerGroup([], { pane: "way" }).addTo(map);
    this._renderer = L.canvas({ pane: "way", padding: 0.3 });
    setInterval(() => this._ask(), EVERY_MS);
    this._ask();
  }

  /** Shows this person from now on; undefined: whoever is about to arrive. */
  choose(n) {
    if (n === this._chosen) return;
    this._chosen = n;
    this._ask();
  }

  async _ask() {
    if (document.hidden) return;
    const asked = ++this._asked;
    const url = this._chosen === undefined ? "/demo/presence" : `/demo/presence/${this._chosen}`;
    const told = await fetch(url).then((answer) => answer.json()).catch(() => null);
    if (asked === this._asked) this._show(told);
  }

  _show(told) {
    this._way.clearLayers();
    for (const layer of this._marked) layer.setStyle(layer.kept);
    this._marked = [];
    this._element.hidden = !told && this._chosen === undefined;
    this._element.dataset.n = told?.n ?? "";
    this._onShow(told?.n ?? this._chosen);
    this._who.textContent = told ? this._name(told.n) + (this._chosen === undefined ? arrival(told) : "") : "";
    if (!told) {
      this._chart.replaceChildren();
      this._list.replaceChildren(make("li", "none", "This phone has told nothing."));
      return;
    }
    const fences = told.fences.map((fence, i) => ({ ...fence, colour: LINES[i], name: this._placeName(fence.id) }));
    this._draw(told, fences);
    this._list.replaceChildren(...fences.map(standing), ...(fences.length ? [] : [make("li", "none", "No fence is near.")]));
    this._mark(told, fences);
  }

  /** The way on the map, what happened on it, and the fences in the colours of their lines. */
  _mark(told, fences) {
    const places = told.path.map(([at, lat, lon]) => ({ at, latLng: [lat, lon] }));
    const line = { pane: "way", renderer: this._renderer, interactive: false };
    this._way.addLayer(L.polyline(places.map((place) => place.latLng), { ...line, color: "#14212b", weight: 2.5, opacity: 0.6, dashArray: "1 5" }));
    for (const mark of told.marks) {
      const place = places.find((one) => one.at >= mark.at);
      const colour = fences.find((fence) => fence.id === mark.fence).colour;
      if (!place) continue;
      const filled = mark.type === "exit" ? "#ffffff" : colour;
      const radius = mark.type === "confirm" ? 5.5 : 4;
      this._way.addLayer(L.circleMarker(place.latLng, { ...line, radius, color: colour, weight: 2, fillColor: filled, fillOpacity: 1 }));
    }
    for (const { id, colour } of fences) {
      const layer = this._fences.get(id)?.layer;
      if (!layer) continue;
      layer.kept ??= { color: layer.options.color, weight: layer.options.weight, opacity: layer.options.opacity };
      layer.setStyle({ color: colour, weight: 2.5, opacity: 0.95 });
      this._marked.push(layer);
    }
  }

  _draw(told, fences) {
    const end = told.path.at(-1)[0];
    const x = (at) => LEFT + ((at - end) / 1000 / told.window_s + 1) * (WIDTH - LEFT - RIGHT);
    const y = (probability) => TOP + (1 - probability) * (HEIGHT - TOP - BOTTOM);
    const offer = fences[0]?.offer ?? null;
    const parts = [...level(y, 0, "0"), ...level(y, 1, "1"), ...level(y, told.presence, told.presence.toFixed(2), "threshold")];
    parts.push(caption(LEFT + 4, y(told.presence) - 3, "a visit begins"));
    if (offer !== null) parts.push(...level(y, offer, offer.toFixed(2), "threshold"), caption(LEFT + 4, y(offer) - 3, "an offer may be made"));
    for (const [age, words] of [[told.window_s, `${told.window_s / 60} min ago`], [0, "now"]]) {
      parts.push(svg("text", { class: "hour", x: x(end - age * 1000), y: HEIGHT - 3, "text-anchor": age ? "start" : "end" }, words));
    }
    for (const { line, colour } of [...fences].reverse()) {
      for (const piece of unbroken(line)) {
        const points = piece.map(([at, probability]) => `${x(at).toFixed(1)},${y(probability).toFixed(1)}`).join(" ");
        parts.push(svg("polyline", { points, fill: "none", stroke: colour, "stroke-width": 2, "stroke-linejoin": "round" }));
      }
    }
    for (const { at, fence, type } of told.marks) {
      const { colour } = fences.find((one) => one.id === fence);
      parts.push(svg("line", { x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM, stroke: colour, "stroke-dasharray": "2 2" }));
      parts.push(svg("text", { class: "mark", x: x(at), y: type === "confirm" ? TOP - 2 : HEIGHT - BOTTOM - 3, style: `fill: ${colour}`, "text-anchor": "middle", "data-type": type }, SIGNS[type]));
    }
    this._chart.setAttribute("aria-label", summary(told, fences));
    this._chart.replaceChildren(...parts);
  }
}

const arrival = (told) => (told.fences.some((fence) => fence.inside) ? ", arrived" : ", about to arrive");

/** One fence in words: how likely the phone is inside, how far from the border, and what that means. */
function standing({ name, colour, probability, away_m: away, inside, confirmed }) {
  const key = make("i", "key");
  key.style.background = colour;
  const far = away === null ? "" : `${Math.abs(away).toFixed(0)} m ${away < 0 ? "inside" : "outside"}`;
  const state = confirmed ? "on a visit" : inside ? "on a visit, not certain yet" : "outside";
  const chance = make("b", "chance", probability === null ? "–" : probability.toFixed(2));
  return make("li", "", key, make("span", "name", name), make("span", "state", [state, far].filter(Boolean).join(" · ")), chance);
}

function summary(told, fences) {
  const chances = fences.map(({ name, probability }) => `${name} ${probability === null ? "not near" : probability.toFixed(2)}`);
  const marks = told.marks.map(({ fence, type }) => `${fences.find((one) => one.id === fence).name}: ${WORDS[type]}`);
  const lately = marks.length ? ` In the last ${told.window_s / 60} minutes: ${marks.join(", ")}.` : "";
  return `Probability of being inside, now: ${chances.join(", ") || "no fence is near"}.${lately}`;
}

/** A line's pieces: where nothing was known of the fence for a while, nothing is drawn. */
function unbroken(line) {
  const pieces = [];
  for (const point of line) {
    const last = pieces.at(-1)?.at(-1);
    if (last && point[0] - last[0] < 8000) pieces.at(-1).push(point);
    else pieces.push([point]);
  }
  return pieces;
}

function level(y, probability, words, name = "level") {
  return [
    svg("line", { class: name, x1: LEFT, x2: WIDTH - RIGHT, y1: y(probability), y2: y(probability) }),
    svg("text", { class: "number", x: LEFT - 5, y: y(probability) + 3.5, "text-anchor": "end" }, words),
  ];
}

const caption = (x, y, words) => svg("text", { class: "words", x, y }, words);

function svg(tag, attributes, words) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (words !== undefined) node.textContent = words;
  return node;
}
