// The map itself: its frame, the fences on it, and who is inside which.

import { addTown } from "./town.js";

const L = window.L;

const STORE = { color: "#0f6b73", weight: 1, opacity: 0.45, fillColor: "#0f6b73", fillOpacity: 0.05 };
const PLACE = { ...STORE, color: "#6a5aa8", fillColor: "#6a5aa8", dashArray: "4 4", fillOpacity: 0.035 };

export function createMap(element, town) {
  const [west, south, east, north] = town.view;
  const home = L.latLngBounds([south, west], [north, east]);
  const map = L.map(element, {
    attributionControl: false,
    zoomControl: false,
    zoomSnap: 0.25,
    minZoom: 14,
    maxZoom: 19.5,
    wheelPxPerZoomLevel: 90,
    maxBounds: home.pad(0.35),
    maxBoundsViscosity: 0.8,
    fadeAnimation: !calm(),
    zoomAnimation: !calm(),
    inertia: !calm(),
  });
  L.control.zoom({ position: "bottomright" }).addTo(map);
  L.control.scale({ imperial: false, position: "bottomright", maxWidth: 110 }).addTo(map);
  const fit = () => {
    const whole = map.getBoundsZoom(home);
    const filled = map.getBoundsZoom(home, true);
    map.setView(home.getCenter(), Math.min(filled, whole + 0.75), { animate: false });
  };
  fit();
  addTown(map, town.town, town.stores.map((store) => ({ ...store, name: shortName(store.name, town.brand) })));
  let moved = false;
  map.on("dragstart", () => (moved = true));
  element.addEventListener("wheel", () => (moved = true), { passive: true });
  map.on("resize", () => moved || fit());
  return map;
}

/** A shop's name without the brand that all of them bear. */
export const shortName = (name, brand) => (name.startsWith(`${brand} `) ? name.slice(brand.length + 1) : name);

/** The person asked for less movement. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Fences by their id ("set/external id"), each {name, layer, people}. */
export class Fences {
  constructor(map, collection) {
    this._map = map;
    this._fences = new Map();
    const renderer = L.canvas({ padding: 0.3 });
    for (const feature of collection.features) this._add(feature, renderer);
  }

  _add(feature, renderer) {
    const { geometry, properties } = feature;
    const style = { ...(properties.store ? STORE : PLACE), renderer };
    const layer =
      geometry.type === "Point"
        ? L.circle([geometry.coordinates[1], geometry.coordinates[0]], { ...style, radius: properties.radius_m })
        : L.polygon(L.GeoJSON.coordsToLatLngs(geometry.coordinates, geometry.type === "Polygon" ? 1 : 2), style);
    const fence = { id: feature.id, name: properties.name, base: style.fillOpacity, layer, people: new Set() };
    layer.bindTooltip(() => this._caption(fence), { sticky: true, className: "caption", opacity: 1 });
    layer.addTo(this._map);
    this._fences.set(feature.id, fence);
  }

  _caption(fence) {
    const node = document.createElement("span");
    const name = document.createElement("b");
    name.textContent = fence.name;
    const count = fence.people.size;
    node.append(name, count === 0 ? "nobody inside" : count === 1 ? "one person inside" : `${count} people inside`);
    return node;
  }

  get(id) {
    return this._fences.get(id);
  }

  get size() {
    return this._fences.size;
  }

  name(id) {
    return this._fences.get(id)?.name ?? id ?? "";
  }

  /** Who is inside now, as {fence: [n, …]}. */
  reset(inside) {
    for (const fence of this._fences.values()) this._fill(fence, new Set(inside[fence.id] ?? []));
  }

  move(id, n, type) {
    const fence = this._fences.get(id);
    if (!fence) return;
    if (type === "enter") fence.people.add(n);
    else if (type === "exit") fence.people.delete(n);
    this._fill(fence, fence.people);
  }

  forget(n) {
    for (const fence of this._fences.values()) {
      if (fence.people.delete(n)) this._fill(fence, fence.people);
    }
  }

  isInside(n) {
    for (const fence of this._fences.values()) if (fence.people.has(n)) return true;
    return false;
  }

  _fill(fence, people) {
    fence.people = people;
    const opacity = fence.base + 0.035 * Math.min(4, people.size);
    if (opacity !== fence.layer.options.fillOpacity) fence.layer.setStyle({ fillOpacity: opacity });
  }
}
