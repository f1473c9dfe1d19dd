// Phones on their way, drawn on one canvas: dots that glide between the positions of the feed, fences that light up
// when somebody arrives, and a word beside a phone that is told nothing.

import { calm } from "./map.js";
import { Sheet } from "./sheet.js";

const COLOURS = { walking: "#2d5f93", inside: "#0f8a7e", offered: "#d9482b", silent: "#76828c" };
const E6 = 1e6;
const FRAME_MS = 40; // 25 frames a second are smooth enough for walking
const TRAIL_EVERY_MS = 1500;
const TRAIL = 9;
const OFFERED_MS = 9000;
const SILENT_MS = 4200;
const GLOW_MS = 2200;

export class Phones {
  /** names(n) and isInside(n) are asked while drawing; onFrame(now) is called after each picture. */
  constructor(map, view, { isInside, onFrame }) {
    this._map = map;
    this._corner = { lat: view[1], lon: view[0] };
    this._isInside = isInside;
    this._onFrame = onFrame;
    this._phones = new Map();
    this._glows = [];
    this._every = 500;
    this._lastFeed = 0;
    this._drawn = 0;
    map.createPane("phones").style.zIndex = 450;
    map.getPane("phones").style.pointerEvents = "none";
    this._sheet = new Sheet((context, seen) => this._paint(context, seen), { pane: "phones", padding: 0.1 });
    this._sheet.addTo(map);
    const frame = (now) => {
      requestAnimationFrame(frame);
      if (now - this._drawn < (calm() ? 250 : FRAME_MS) - 4) return;
      this._drawn = now;
      this._sheet.redraw();
      this._onFrame(now);
    };
    requestAnimationFrame(frame);
  }

  get size() {
    return this._phones.size;
  }

  get(n) {
    return this._phones.get(n);
  }

  all() {
    return this._phones.values();
  }

  reset(people) {
    this._phones.clear();
    for (const person of people) this.add(person);
  }

  add(person) {
    this._phones.set(person.n, { ...person, from: null, to: null, since: 0, offered: 0, silent: 0, why: "", trail: [], trailed: 0 });
  }

  remove(n) {
    this._phones.delete(n);
    if (this._chosen === n) this._chosen = undefined;
  }

  choose(n) {
    this._chosen = n;
  }

  /** A frame of the feed: [n, north, east, n, north, east, …] in millionths of a degree from the view's corner. */
  place(flat) {
    const now = performance.now();
    if (this._lastFeed > 0) this._every += (Math.min(1500, now - this._lastFeed) - this._every) * 0.2;
    this._lastFeed = now;
    for (let i = 0; i < flat.length; i += 3) {
      const phone = this._phones.get(flat[i]);
      if (!phone) continue;
      const target = this._map.project([this._corner.lat + flat[i + 1] / E6, this._corner.lon + flat[i + 2] / E6], 0);
      phone.from = phone.to ? this._now(phone, now) : target;
      phone.to = target;
      phone.since = now;
    }
  }

  offered(n) {
    const phone = this._phones.get(n);
    if (phone) phone.offered = performance.now();
  }

  silenced(n, why) {
    const phone = this._phones.get(n);
    if (phone) Object.assign(phone, { silent: performance.now(), why });
  }

  /** Lights a fence up; an offer is warmer than an arrival. */
  glow(fence, kind) {
    if (!fence) return;
    const layer = fence.layer;
    const rings = layer.getLatLngs ? layer.getLatLngs() : null;
    this._glows = this._glows.filter((glow) => glow.fence !== fence.id);
    this._glows.push({
      fence: fence.id,
      kind,
      since: performance.now(),
      rings: rings ? flatten(rings).map((ring) => ring.map((at) => this._map.project(at, 0))) : null,
      centre: rings ? null : this._map.project(layer.getLatLng(), 0),
      radius_m: rings ? 0 : layer.getRadius(),
    });
  }

  /** Where a phone is drawn, in pixels of the map's window; null when it is nowhere yet. */
  where(n) {
    const phone = this._phones.get(n);
    if (!phone?.to) return null;
    const world = this._now(phone, performance.now());
    const scale = this._map.getZoomScale(this._map.getZoom(), 0);
    const origin = this._map.getPixelOrigin();
    return this._map.layerPointToContainerPoint([world.x * scale - origin.x, world.y * scale - origin.y]);
  }

  latLng(n) {
    const phone = this._phones.get(n);
    return phone?.to ? this._map.unproject(window.L.point(phone.to.x, phone.to.y), 0) : null;
  }

  /** The phone nearest to a place of the window, within some pixels; null when there is none. */
  near(point, within = 14) {
    let best = null;
    let least = within;
    for (const n of this._phones.keys()) {
      const at = this.where(n);
      const far = at ? Math.hypot(at.x - point.x, at.y - point.y) : Infinity;
      if (far < least) [best, least] = [n, far];
    }
    return best;
  }

  _now(phone, now) {
    const share = calm() ? 1 : Math.min(1, (now - phone.since) / (this._every * 1.1));
    return {
      x: phone.from.x + (phone.to.x - phone.from.x) * share,
      y: phone.from.y + (phone.to.y - phone.from.y) * share,
    };
  }

  _paint(context, view) {
    const now = performance.now();
    this._paintGlows(context, view, now);
    const seen = [];
    for (const phone of this._phones.values()) {
      if (!phone.to) continue;
      const world = this._now(phone, now);
      seen.push({ phone, world, x: view.x(world), y: view.y(world) });
    }
    if (!calm()) for (const one of seen) this._paintTrail(context, view, one, now);
    seen.sort((one, other) => rank(one.phone, now) - rank(other.phone, now));
    for (const one of seen) this._paintPhone(context, view, one, now);
    paintReasons(context, view, seen, now);
  }

  _paintGlows(context, view, now) {
    this._glows = this._glows.filter((glow) => now - glow.since < GLOW_MS);
    for (const glow of this._glows) {
      const age = (now - glow.since) / GLOW_MS;
      const colour = glow.kind === "offer" ? "217, 72, 43" : "15, 138, 126";
      const strength = calm() ? 0.7 : (1 - age) ** 1.5;
      context.beginPath();
      if (glow.rings) {
        for (const ring of glow.rings) {
          ring.forEach((at, i) => (i ? context.lineTo(view.x(at), view.y(at)) : context.moveTo(view.x(at), view.y(at))));
          context.closePath();
        }
      } else {
        context.arc(view.x(glow.centre), view.y(glow.centre), glow.radius_m * view.metre, 0, 7);
      }
      context.fillStyle = `rgba(${colour}, ${0.3 * strength})`;
      context.fill("evenodd");
      context.strokeStyle = `rgba(${colour}, ${0.95 * strength})`;
      context.lineWidth = 2.2;
      context.stroke();
      if (!calm()) {
        context.strokeStyle = `rgba(${colour}, ${0.28 * strength})`;
        context.lineWidth = 2 + 16 * Math.sqrt(age);
        context.stroke();
      }
    }
  }

  _paintTrail(context, view, { phone, world, x, y }, now) {
    if (now - phone.trailed > TRAIL_EVERY_MS) {
      phone.trailed = now;
      phone.trail.push(world);
      if (phone.trail.length > TRAIL) phone.trail.shift();
    }
    if (phone.dark || phone.trail.length < 2) return;
    context.beginPath();
    phone.trail.forEach((at, i) => (i ? context.lineTo(view.x(at), view.y(at)) : context.moveTo(view.x(at), view.y(at))));
    context.lineTo(x, y);
    context.strokeStyle = "rgba(45, 95, 147, 0.22)";
    context.lineWidth = 2;
    context.lineCap = "round";
    context.lineJoin = "round";
    context.stroke();
  }

  _paintPhone(context, view, { phone, x, y }, now) {
    const size = Math.max(3.2, Math.min(6, 3.4 + (view.zoom - 15.5) * 0.9));
    const offered = now - phone.offered < OFFERED_MS && phone.offered > 0;
    const silent = now - phone.silent < SILENT_MS && phone.silent > 0;
    if (offered && !calm()) {
      const beat = ((now - phone.offered) % 1500) / 1500;
      disc(context, x, y, size + 3 + beat * 13, `rgba(217, 72, 43, ${0.32 * (1 - beat)})`);
    }
    if (phone.n === this._chosen) {
      context.beginPath();
      context.arc(x, y, size + 6, 0, 7);
      context.strokeStyle = "#14212b";
      context.lineWidth = 2;
      context.stroke();
    }
    if (phone.dark) {
      disc(context, x, y, size - 0.4, "rgba(255, 255, 255, 0.85)");
      context.strokeStyle = "#76828c";
      context.lineWidth = 1.3;
      context.stroke();
      return;
    }
    const state = offered ? "offered" : silent ? "silent" : this._isInside(phone.n) ? "inside" : "walking";
    disc(context, x, y, size + (offered ? 2.6 : 1.4), "#ffffff");
    disc(context, x, y, size + (offered ? 1.2 : 0), COLOURS[state]);
    if (silent && !offered) {
      context.fillStyle = "#ffffff";
      context.fillRect(x - size * 0.55, y - 0.8, size * 1.1, 1.6);
    }
  }
}

const rank = (phone, now) => (now - phone.offered < OFFERED_MS ? 2 : now - phone.silent < SILENT_MS ? 1 : 0);

function disc(context, x, y, radius, colour) {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fillStyle = colour;
  context.fill();
}

/** The reasons of fresh silences, the newest first, where they do not cover one another. */
function paintReasons(context, view, seen, now) {
  const fresh = seen.filter(({ phone }) => phone.silent > 0 && now - phone.silent < SILENT_MS);
  fresh.sort((one, other) => other.phone.silent - one.phone.silent);
  const taken = [];
  context.font = "500 11px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const { phone, x, y } of fresh) {
    const width = context.measureText(phone.why).width + 14;
    const box = { left: x + 9, right: x + 9 + width, top: y - 22, bottom: y - 3 };
    if (box.right > view.bounds.max.x - 10) Object.assign(box, { left: x - 9 - width, right: x - 9 });
    if (taken.some((t) => box.left < t.right && box.right > t.left && box.top < t.bottom && box.bottom > t.top)) continue;
    taken.push(box);
    const left = SILENT_MS - (now - phone.silent);
    context.globalAlpha = calm() ? 1 : Math.min(1, left / 700, (now - phone.silent) / 180);
    context.beginPath();
    context.roundRect(box.left, box.top, width, 19, 9.5);
    context.fillStyle = "rgba(250, 251, 252, 0.94)";
    context.fill();
    context.strokeStyle = "rgba(118, 130, 140, 0.5)";
    context.lineWidth = 1;
    context.stroke();
    context.fillStyle = "#48545e";
    context.fillText(phone.why, box.left + 7, box.top + 10);
    context.globalAlpha = 1;
  }
}

function flatten(rings) {
  return Array.isArray(rings[0]) ? rings.flatMap(flatten) : [rings];
}
