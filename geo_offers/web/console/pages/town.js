// Paints the town from GeoJSON: ground, streets with kerbs, buildings, and names along the streets. No tiles.

import { Sheet, toWorld } from "./sheet.js";

const COLOURS = {
  land: "#f5f1e8",
  beach: "#f3e3bd",
  park: { park: "#d6e8c6", garden: "#d3e7c8", meadow: "#e2eccf", wood: "#c5ddb4", churchyard: "#d9e5cc" },
  square: "#ece3d3",
  river: "#b9d9e8",
  pier: "#e4d7bf",
  building: {
    house: ["#e7dfd1", "#d3c8b5"],
    store: ["#f3d3c4", "#dda993"],
    mall: ["#efe0cf", "#d0b698"],
    other: ["#dcd8d6", "#bdb6b2"],
  },
};

// class: [kerb, surface, from zoom]
const STREETS = {
  path: ["#d8ceb8", "#d8ceb8", 14.5],
  arcade: ["#dcc7b1", "#fbf5ec", 14],
  lane: ["#ddd4c3", "#fffdf9", 14],
  promenade: ["#dcc9a2", "#fbf3df", 14],
  street: ["#d9cfbe", "#ffffff", 13],
  road: ["#d2c6b2", "#ffffff", 12],
  avenue: ["#d8bf8f", "#fff3d3", 12],
};

const LABELS = {
  town: { from: 12, to: 15.1, font: "600 22px", colour: "#22343f", spacing: "0.14em", upper: true },
  quarter: { from: 14.4, to: 18.5, font: "600 11.5px", colour: "#7a6f63", spacing: "0.14em", upper: true },
  water: { from: 13, to: 20, font: "italic 500 14px", colour: "#3f7590", spacing: "0.06em" },
  park: { from: 15, to: 20, font: "italic 500 11.5px", colour: "#4c7040" },
  place: { from: 15.2, to: 20, font: "500 11.5px", colour: "#5d534a" },
};

const FACE = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";

/** Adds the town's two sheets (ground below the fences, names above them) to the map. */
export function addTown(map, town, stores) {
  const features = town.features.map((feature) => prepare(map, feature));
  const shops = stores.map((store) => ({ name: store.name, at: toWorld(map, [store.lon, store.lat]) }));
  map.createPane("ground").style.zIndex = 200;
  map.createPane("names").style.zIndex = 420;
  map.getPane("names").style.pointerEvents = "none";
  new Sheet((context, view) => paintGround(context, view, features), { pane: "ground", padding: 0.3 }).addTo(map);
  new Sheet((context, view) => paintNames(context, view, features, shops), { pane: "names", padding: 0.3 }).addTo(map);
}

function prepare(map, feature) {
  const { type, coordinates } = feature.geometry;
  const lines = type === "Point" ? [[coordinates]] : type === "LineString" ? [coordinates] : coordinates;
  return { ...feature.properties, closed: type === "Polygon", lines: lines.map((line) => line.map((p) => toWorld(map, p))) };
}

function trace(context, view, feature) {
  for (const line of feature.lines) {
    line.forEach((point, i) => {
      if (i === 0) context.moveTo(view.x(point), view.y(point));
      else context.lineTo(view.x(point), view.y(point));
    });
    if (feature.closed) context.closePath();
  }
}

/** Woods and meadows have no corners: a curve through the middles of their sides. */
function traceSoft(context, view, feature) {
  for (const line of feature.lines) {
    const points = line.slice(0, -1).map((point) => ({ x: view.x(point), y: view.y(point) }));
    const middle = (i) => {
      const [a, b] = [points[i % points.length], points[(i + 1) % points.length]];
      return [(a.x + b.x) / 2, (a.y + b.y) / 2];
    };
    context.moveTo(...middle(0));
    for (let i = 1; i <= points.length; i += 1) {
      const at = points[i % points.length];
      context.quadraticCurveTo(at.x, at.y, ...middle(i));
    }
    context.closePath();
  }
}

function outline(context, view, features) {
  context.beginPath();
  for (const feature of features) trace(context, view, feature);
}

function fill(context, view, features, colour) {
  outline(context, view, features);
  context.fillStyle = colour;
  context.fill("evenodd");
}

function stroke(context, view, features, colour, width, dash = []) {
  outline(context, view, features);
  context.setLineDash(dash);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
  context.setLineDash([]);
}

function paintGround(context, view, features) {
  const of = (kind) => features.filter((feature) => feature.kind === kind);
  context.lineJoin = "round";
  context.lineCap = "round";
  paintCoast(context, view, of("land"));
  fill(context, view, of("beach"), COLOURS.beach);
  for (const park of of("park")) paintPark(context, view, park);
  fill(context, view, of("square"), COLOURS.square);
  fill(context, view, of("river"), COLOURS.river);
  stroke(context, view, of("river"), "#a5cbdc", 1);
  paintRailway(context, view, of("railway"));
  for (const bridge of of("bridge")) {
    stroke(context, view, [bridge], "#b9ad99", Math.max(2, bridge.width_m * view.metre + 3));
  }
  paintStreets(context, view, of("street"));
  fill(context, view, of("pier"), COLOURS.pier);
  stroke(context, view, of("pier"), "#c9b891", 1);
  paintBuildings(context, view, of("building"));
}

function paintPark(context, view, park) {
  context.beginPath();
  if (park.use === "wood" || park.use === "meadow") traceSoft(context, view, park);
  else trace(context, view, park);
  context.fillStyle = COLOURS.park[park.use] ?? COLOURS.park.park;
  context.fill("evenodd");
}

function paintCoast(context, view, land) {
  for (const [width, colour] of [[70, "#d7eaf2"], [42, "#e0f0f5"], [18, "#ebf6f8"]]) {
    stroke(context, view, land, colour, width * Math.min(1.4, Math.max(0.35, view.metre)));
  }
  fill(context, view, land, COLOURS.land);
  stroke(context, view, land, "#d9cdb2", 1.2);
}

function paintRailway(context, view, railway) {
  const width = Math.max(1.6, 3.4 * view.metre);
  stroke(context, view, railway, "#a9a29b", width);
  context.lineCap = "butt";
  stroke(context, view, railway, "#f3efe9", width * 0.55, [width * 2.2, width * 2.2]);
  context.lineCap = "round";
}

function paintStreets(context, view, streets) {
  const width = (street) => Math.max(street.class === "path" ? 0.9 : 1.6, street.width_m * view.metre);
  const shown = Object.entries(STREETS)
    .map(([name, style]) => [style, streets.filter((street) => street.class === name)])
    .filter(([style, group]) => group.length > 0 && view.zoom >= style[2]);
  for (const layer of [0, 1]) {
    for (const [style, group] of shown) {
      for (const street of group) {
        if (street.class !== "path") {
          stroke(context, view, [street], style[layer], width(street) + (layer === 0 ? 2 : 0));
        } else if (layer === 1) {
          stroke(context, view, [street], style[1], Math.min(width(street), 2), [3, 4]);
        }
      }
    }
  }
}

function paintBuildings(context, view, buildings) {
  if (view.zoom < 14) return;
  if (view.zoom >= 15.4) {
    context.save();
    const lift = Math.min(3, 1.6 * view.metre);
    context.translate(lift, lift);
    fill(context, view, buildings, "rgba(95, 78, 52, 0.16)");
    context.restore();
  }
  for (const [use, [surface, edge]] of Object.entries(COLOURS.building)) {
    const group = buildings.filter((b) => (COLOURS.building[b.use] ? b.use : "other") === use);
    fill(context, view, group, surface);
    if (view.zoom >= 15) stroke(context, view, group, edge, use === "house" ? 0.7 : 1);
  }
}

// ---------------------------------------------------------------------------------------------- names

function paintNames(context, view, features, shops) {
  const taken = [];
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const labels = features.filter((feature) => feature.kind === "label");
  for (const kind of ["town", "quarter", "water", "park", "place"]) {
    const style = LABELS[kind];
    if (view.zoom < style.from || view.zoom > style.to) continue;
    for (const label of labels.filter((feature) => feature.of === kind)) {
      write(context, view, label.name, label.lines[0][0], style, taken);
    }
  }
  const streets = features.filter((feature) => feature.kind === "street" && feature.name);
  streets.sort((one, other) => other.width_m - one.width_m);
  for (const street of streets) writeAlong(context, view, street, taken);
  if (view.zoom >= 17.2) {
    const style = { font: "500 11px", colour: "#8f4630" };
    for (const shop of shops) write(context, view, shop.name, shop.at, style, taken, 14);
  }
}

function ink(context, style, halo = "rgba(252, 250, 245, 0.92)") {
  context.font = `${style.font} ${FACE}`;
  context.letterSpacing = style.spacing ?? "0px";
  context.fillStyle = style.colour;
  context.strokeStyle = halo;
  context.lineWidth = 3.5;
}

function write(context, view, name, at, style, taken, below = 0) {
  const text = style.upper ? name.toUpperCase() : name;
  ink(context, style, style === LABELS.water ? "rgba(207, 228, 238, 0.5)" : undefined);
  const half = context.measureText(text).width / 2 + 4;
  const x = view.x(at);
  const y = view.y(at) + below;
  const box = { left: x - half, right: x + half, top: y - 9, bottom: y + 9 };
  if (collides(taken, box)) return;
  taken.push(box);
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}

const STREET_NAME = { font: "500 10.5px", colour: "#6d6459" };

/** Writes a street's name on its longest straight part, once, and again where the part is very long. */
function writeAlong(context, view, street, taken) {
  const size = Math.min(12.5, Math.max(9.5, street.width_m * view.metre * 0.72));
  if (street.width_m * view.metre < 5 && street.class !== "path" && view.zoom < 15) return;
  ink(context, { ...STREET_NAME, font: `500 ${size.toFixed(1)}px` });
  const width = context.measureText(street.name).width;
  for (const line of street.lines) {
    const part = longestStraight(line.map((point) => ({ x: view.x(point), y: view.y(point) })));
    const length = Math.hypot(part.to.x - part.from.x, part.to.y - part.from.y);
    if (length < width * 1.12) continue;
    const times = Math.max(1, Math.min(4, Math.floor(length / Math.max(420, width * 2.6))));
    for (let i = 0; i < times; i += 1) stamp(context, street.name, part, (i + 0.5) / times, width, taken);
  }
}

function stamp(context, text, part, share, width, taken) {
  const x = part.from.x + (part.to.x - part.from.x) * share;
  const y = part.from.y + (part.to.y - part.from.y) * share;
  let angle = Math.atan2(part.to.y - part.from.y, part.to.x - part.from.x);
  if (angle > Math.PI / 2 || angle <= -Math.PI / 2) angle += Math.PI;
  const boxes = [];
  for (let along = -width / 2; along <= width / 2; along += 12) {
    const bx = x + Math.cos(angle) * along;
    const by = y + Math.sin(angle) * along;
    boxes.push({ left: bx - 7, right: bx + 7, top: by - 7, bottom: by + 7 });
  }
  if (boxes.some((box) => collides(taken, box))) return;
  taken.push(...boxes);
  context.save();
  context.translate(x, y);
  context.rotate(angle);
  context.strokeText(text, 0, 0);
  context.fillText(text, 0, 0);
  context.restore();
}

function longestStraight(points) {
  let best = { from: points[0], to: points[1] ?? points[0], length: 0 };
  let start = 0;
  for (let i = 1; i < points.length; i += 1) {
    if (i > start + 1 && Math.abs(bend(points[i - 2], points[i - 1], points[i])) > 0.16) start = i - 1;
    const length = Math.hypot(points[i].x - points[start].x, points[i].y - points[start].y);
    if (length > best.length) best = { from: points[start], to: points[i], length };
  }
  return best;
}

function bend(a, b, c) {
  const turn = Math.atan2(c.y - b.y, c.x - b.x) - Math.atan2(b.y - a.y, b.x - a.x);
  return Math.atan2(Math.sin(turn), Math.cos(turn));
}

function collides(taken, box) {
  return taken.some(
    (other) => box.left < other.right && box.right > other.left && box.top < other.bottom && box.bottom > other.top,
  );
}
