// Joins the map, the panel and the live feed.

import { Campaigns } from "./campaigns.js";
import { Cards } from "./cards.js";
import { listen } from "./feed.js";
import { Fences, createMap, shortName } from "./map.js";
import { Bars, Figures, Latest, Person, make } from "./panels.js";
import { Phones } from "./phones.js";
import { Presence } from "./presence.js";
import { shortReason } from "./words.js";

const byId = (id) => document.getElementById(id);

async function start() {
  const town = await (await fetch("/demo/town")).json();
  byId("town").textContent = town.title;
  document.title = `${town.title} · geo-offers`;
  const map = createMap(byId("map"), town);
  const fences = new Fences(map, town.fences);
  const placeName = (id) => shortName(fences.name(id), town.brand);

  let cards;
  const phones = new Phones(map, town.view, {
    isInside: (n) => fences.isInside(n),
    onFrame: (now) => cards?.update(now),
  });
  cards = new Cards(byId("cards"), (n) => phones.where(n));
  const figures = new Figures();
  const bars = new Bars();
  const presence = new Presence(map, fences, {
    name: (n) => phones.get(n)?.name ?? "",
    placeName,
    onShow: (n) => phones.choose(n),
  });
  const follow = (n) => {
    phones.choose(n);
    presence.choose(n);
  };
  const person = new Person({ placeName, onClose: () => follow(undefined) });
  const choose = (n) => {
    if (!phones.get(n)) return;
    if (location.hash === "#campaigns") location.hash = "#live";
    follow(n);
    const at = phones.latLng(n);
    if (at && !map.getBounds().pad(-0.1).contains(at)) map.panTo(at);
    person.open(n);
  };
  const latest = new Latest({ placeName, onChoose: choose });

  map.on("click", (event) => {
    const n = phones.near(event.containerPoint, 16);
    if (n === null) person.close();
    else choose(n);
  });
  map.on("mousemove", (event) => {
    map.getContainer().classList.toggle("over-phone", phones.near(event.containerPoint, 10) !== null);
  });
  map.on("zoomanim", () => byId("cards").classList.add("away"));
  map.on("zoomend", () => byId("cards").classList.remove("away"));
  find(phones, choose);
  views(new Campaigns());

  listen(
    "/demo/feed",
    {
      hello(state) {
        phones.reset(state.people);
        fences.reset(state.inside);
        latest.reset(state.recent, state.lives);
        cards.clear();
        if (state.stats) show(state.stats);
      },
      joined: (who) => phones.add(who),
      left({ n }) {
        phones.remove(n);
        fences.forget(n);
        if (person.shown === n) person.close();
      },
      at: (flat) => phones.place(flat),
      moved({ n, fence, type }) {
        fences.move(fence, n, type);
        if (type === "enter") phones.glow(fences.get(fence), "arrival");
      },
      decided(decision) {
        latest.add(decision);
        if (decision.outcome === "offer") phones.glow(fences.get(decision.fence), "offer");
        else phones.silenced(decision.n, shortReason(decision.reason));
        if (person.shown === decision.n) person.open(decision.n);
      },
      landed(offer) {
        phones.offered(offer.n);
        cards.show({ ...offer, brand: town.brand, lang: phones.get(offer.n)?.locale });
      },
      life: (one) => latest.live(one),
      stats: (stats) => show(stats),
    },
    (state) => {
      const pulse = byId("pulse");
      pulse.dataset.state = state;
      pulse.textContent = state === "live" ? "live" : "not connected";
    },
  );

  function show(stats) {
    figures.show(stats, phones.size);
    bars.show(stats.decisions ?? {});
  }
}

/** The address says which of the panel's views is shown, so that the browser's Back works. */
function views(campaigns) {
  const show = () => {
    const wanted = location.hash === "#campaigns" ? "#campaigns" : "#live";
    for (const link of document.querySelectorAll(".bar nav a")) {
      if (link.hash === wanted) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      byId(link.hash.slice(1)).hidden = link.hash !== wanted;
    }
    const view = byId(wanted.slice(1));
    if (location.hash === wanted && view.getBoundingClientRect().top > innerHeight / 2) view.scrollIntoView();
    campaigns.watch(wanted === "#campaigns");
  };
  addEventListener("hashchange", show);
  show();
}

function find(phones, choose) {
  const input = byId("who");
  input.addEventListener("focus", () => {
    const names = [...phones.all()].map((phone) => phone.name).sort();
    byId("names").replaceChildren(...names.map((name) => Object.assign(make("option", ""), { value: name })));
  });
  const take = () => {
    const wanted = input.value.trim().toLowerCase();
    const phone = wanted && [...phones.all()].find((one) => one.name.toLowerCase() === wanted);
    if (phone) choose(phone.n);
    return Boolean(phone);
  };
  input.addEventListener("change", take);
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    take();
  });
}

start();
