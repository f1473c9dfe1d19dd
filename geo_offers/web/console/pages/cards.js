// An offer as the phone shows it: a small notification beside the phone, for some seconds.

const STAY_MS = 7500;
const WIDTH = 226;
const GAP = 16;

export class Cards {
  /** where(n) is the phone's place in the window. */
  constructor(element, where) {
    this._element = element;
    this._where = where;
    this._cards = [];
  }

  show({ n, title, body, brand, lang }) {
    const most = this._element.clientWidth < 640 ? 2 : 4;
    for (const card of this._cards.filter((one) => one.n === n)) this._drop(card);
    while (this._cards.length >= most) this._drop(this._cards[0]);
    const node = document.createElement("div");
    node.className = "card";
    node.dataset.n = n;
    node.lang = lang || "en";
    node.append(text("span", "app", brand), text("span", "when", "now"), text("b", "title", title), text("p", "body", body));
    const line = document.createElement("i");
    line.className = "lead";
    this._element.append(line, node);
    this._cards.push({ n, node, line, until: performance.now() + STAY_MS, corner: null, size: null });
  }

  clear() {
    for (const card of [...this._cards]) this._drop(card);
  }

  /** Keeps the cards at their phones. */
  update(now) {
    for (const card of [...this._cards]) {
      const at = this._where(card.n);
      if (now > card.until || !at) {
        this._drop(card);
        continue;
      }
      const hidden = !this._holds(at);
      card.node.hidden = hidden;
      card.line.hidden = hidden;
      if (hidden) continue;
      card.size ??= { x: card.node.offsetWidth || WIDTH, y: card.node.offsetHeight };
      card.corner ??= this._bestCorner(card, at);
      this._put(card, at);
    }
  }

  _holds(at) {
    return at.x >= 0 && at.y >= 0 && at.x <= this._element.clientWidth && at.y <= this._element.clientHeight;
  }

  _put(card, at) {
    const limit = { x: this._element.clientWidth, y: this._element.clientHeight };
    const spot = corner(at, card.size, card.corner);
    card.at = {
      x: Math.max(8, Math.min(limit.x - card.size.x - 8, spot.x)),
      y: Math.max(8, Math.min(limit.y - card.size.y - 8, spot.y)),
    };
    card.node.style.transform = `translate(${card.at.x.toFixed(1)}px, ${card.at.y.toFixed(1)}px)`;
    const end = {
      x: Math.max(card.at.x + 14, Math.min(card.at.x + card.size.x - 14, at.x)),
      y: Math.max(card.at.y + 8, Math.min(card.at.y + card.size.y - 8, at.y)),
    };
    const length = Math.hypot(end.x - at.x, end.y - at.y);
    const angle = Math.atan2(end.y - at.y, end.x - at.x);
    card.line.style.width = `${length.toFixed(1)}px`;
    card.line.style.transform = `translate(${at.x.toFixed(1)}px, ${at.y.toFixed(1)}px) rotate(${angle.toFixed(3)}rad)`;
  }

  /** The corner where the card covers least of the other cards and stays in the window. */
  _bestCorner(card, at) {
    const limit = { x: this._element.clientWidth, y: this._element.clientHeight };
    let best = "ne";
    let least = Infinity;
    for (const name of ["ne", "nw", "se", "sw"]) {
      const spot = corner(at, card.size, name);
      let cost = ["ne", "nw", "se", "sw"].indexOf(name);
      cost += 60 * (over(-spot.x) + over(spot.x + card.size.x - limit.x) + over(-spot.y) + over(spot.y + card.size.y - limit.y));
      for (const other of this._cards) if (other !== card && other.at) cost += overlap(spot, card.size, other.at, other.size);
      if (cost < least) [best, least] = [name, cost];
    }
    return best;
  }

  _drop(card) {
    this._cards = this._cards.filter((one) => one !== card);
    card.line.remove();
    card.node.classList.add("gone");
    setTimeout(() => card.node.remove(), 320);
  }
}

const over = (pixels) => Math.max(0, pixels);

function corner(at, size, name) {
  return {
    x: name.endsWith("e") ? at.x + GAP : at.x - GAP - size.x,
    y: name.startsWith("n") ? at.y - GAP - size.y : at.y + GAP,
  };
}

function overlap(one, oneSize, other, otherSize) {
  const x = Math.min(one.x + oneSize.x, other.x + otherSize.x) - Math.max(one.x, other.x);
  const y = Math.min(one.y + oneSize.y, other.y + otherSize.y) - Math.max(one.y, other.y);
  return x > 0 && y > 0 ? x * y : 0;
}

function text(tag, name, content) {
  const node = document.createElement(tag);
  node.className = name;
  node.textContent = content;
  return node;
}
