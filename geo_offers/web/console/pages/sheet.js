// A canvas that covers the map a little beyond its edges and follows it while it moves and zooms.

const L = window.L;

/** draw(context, view) paints in layer points; view = {zoom, bounds, ratio, place(worldPoint)}. */
export const Sheet = L.Renderer.extend({
  initialize(draw, options) {
    L.Renderer.prototype.initialize.call(this, options);
    this._paint = draw;
  },

  _initContainer() {
    this._container = document.createElement("canvas");
    this._container.style.pointerEvents = "none";
    this._context = this._container.getContext("2d");
  },

  _destroyContainer() {
    this._container.remove();
  },

  _update() {
    if (this._map._animatingZoom && this._bounds) return;
    L.Renderer.prototype._update.call(this);
    const { min } = this._bounds;
    const size = this._bounds.getSize();
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    L.DomUtil.setPosition(this._container, min);
    this._container.width = size.x * ratio;
    this._container.height = size.y * ratio;
    this._container.style.width = `${size.x}px`;
    this._container.style.height = `${size.y}px`;
    this._ratio = ratio;
    this.redraw();
  },

  _updatePaths() {},

  redraw() {
    if (!this._map || !this._bounds || this._map._animatingZoom) return;
    const context = this._context;
    const { min, max } = this._bounds;
    context.setTransform(this._ratio, 0, 0, this._ratio, -min.x * this._ratio, -min.y * this._ratio);
    context.clearRect(min.x, min.y, max.x - min.x, max.y - min.y);
    this._paint(context, view(this._map, this._bounds));
  },
});

/** World points are the map's projection at zoom 0; a view turns them into layer points. */
export function view(map, bounds) {
  const zoom = map.getZoom();
  const scale = map.getZoomScale(zoom, 0);
  const origin = map.getPixelOrigin();
  const metre = (256 * scale) / (40075016.686 * Math.cos((map.getCenter().lat * Math.PI) / 180));
  return {
    zoom,
    bounds,
    metre,
    x: (world) => world.x * scale - origin.x,
    y: (world) => world.y * scale - origin.y,
  };
}

/** Projects a GeoJSON position. */
export const toWorld = (map, [lon, lat]) => map.project([lat, lon], 0);
