// Listens to the live feed; the browser reconnects by itself and then gets a fresh "hello".

const EVENTS = ["hello", "joined", "left", "at", "moved", "decided", "landed", "life", "stats"];

/** Calls handlers[event](data) for each event and onState("live" | "waiting") when the line comes or goes. */
export function listen(url, handlers, onState) {
  const source = new EventSource(url);
  for (const event of EVENTS) {
    source.addEventListener(event, (message) => handlers[event]?.(JSON.parse(message.data)));
  }
  source.addEventListener("open", () => onState("live"));
  source.addEventListener("error", () => onState("waiting"));
  addEventListener("pagehide", () => source.close());
  return source;
}
