// What the page asks of the server; openapi.json describes it.
export const me = Math.random().toString(36).slice(2, 12);

export class Refused extends Error {
  constructor(status, key, message, wait) {
    super(message);
    Object.assign(this, { status, key, wait });
  }
}

export async function ask(method, path, body) {
  const isFile = body instanceof Blob;
  const response = await fetch(path, {
    method,
    headers: { "X-Kinaema": me, ...(body && !isFile ? { "Content-Type": "application/json" } : {}) },
    body: body === undefined || isFile ? body : JSON.stringify(body),
  }).catch(() => { throw new Refused(0, "offline", ""); });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Refused(response.status, answer.error ?? "", answer.message ?? response.statusText, response.headers.get("Retry-After"));
}

// Server-sent events while the page is looked at: a phone in a pocket costs nothing.
export function listen(onEvent, onSilence) {
  let source = null;
  function update() {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      source = new EventSource("api/events");
      for (const name of ["state", "map"]) source.addEventListener(name, (event) => onEvent(name, JSON.parse(event.data)));
      source.onerror = () => {
        onSilence();
        if (source?.readyState === EventSource.CLOSED) {  // refused: the browser itself does not try again
          source = null;
          setTimeout(update, 3000);
        }
      };
    }
  }
  document.addEventListener("visibilitychange", update);
  update();
}

// One picture after the other, as long as somebody sees them.
export function watchCamera(image, wanted) {
  let url = null;
  async function next() {
    let pause = 700;
    if (!document.hidden && wanted()) {
      try {
        const response = await fetch("api/camera.jpg", { headers: { "X-Kinaema": me } });
        if (response.ok) {
          const fresh = URL.createObjectURL(await response.blob());
          image.src = fresh;
          await image.decode().catch(() => {});
          if (url) URL.revokeObjectURL(url);
          url = fresh;
          image.parentElement.hidden = false;
        } else pause = 3000;
      } catch { pause = 3000; }
    }
    setTimeout(next, pause);
  }
  next();
}
