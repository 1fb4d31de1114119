// The map: what the memory knows, the robot, goals and places. Metres to pixels; pan, pinch, wheel and keys.
import { number, word } from "./words.js";

const SPACE = "http://www.w3.org/2000/svg";
const NEAR = 26;  // pixels within which a tap means a thing
const STEPS = [0.5, 1, 2, 5, 10, 20, 50, 100];  // metres of the scale

export class RobotMap {
  // covered(): pixels at the top that something else lies on. onTap(thing): {place}, {guess} or {pose}
  constructor(drawing, words, covered, onTap) {
    Object.assign(this, { drawing, words, covered, onTap });
    this.view = { x: 0, y: 0, scale: 40, all: true };
    this.known = { viewpoints: [], path: [], places: [] };
    this.robot = null;
    this.robotEllipse = null;
    this.goal = null;  // {pose, ellipse}
    this.guesses = [];
    this.picked = 0;
    this.mark = null;  // a pose that was tapped
    this.pointers = new Map();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(drawing);
  }

  show(things) {
    Object.assign(this, things);
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  zoom(factor, at = [this.drawing.clientWidth / 2, this.drawing.clientHeight / 2]) {
    const [x, y] = this.world(at);
    this.view.scale = Math.min(400, Math.max(4, this.view.scale * factor));
    const [nx, ny] = this.world(at);
    this.view.x += x - nx;
    this.view.y += y - ny;
    this.view.all = false;
    this.draw();
  }

  all() {
    this.view.all = true;
    this.draw();
  }

  // -- where things are ---------------------------------------------------------------------------------------

  screen([x, y]) {
    const { view, drawing } = this;
    return [drawing.clientWidth / 2 + (x - view.x) * view.scale, drawing.clientHeight / 2 - (y - view.y) * view.scale];
  }

  world([sx, sy]) {
    const { view, drawing } = this;
    return [view.x + (sx - drawing.clientWidth / 2) / view.scale, view.y - (sy - drawing.clientHeight / 2) / view.scale];
  }

  fit() {
    const points = [...this.known.viewpoints, ...this.known.path, ...this.known.places.flatMap((p) => p.pose ? [p.pose] : []),
      ...this.guesses.map((g) => g.pose), ...[this.robot, this.goal?.pose, this.mark].filter(Boolean)];
    if (!points.length) return;
    const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
    const edge = 0.8;  // metres of ground around a viewpoint
    const [left, right, low, high] = [Math.min(...xs) - edge, Math.max(...xs) + edge, Math.min(...ys) - edge, Math.max(...ys) + edge];
    const { clientWidth: width, clientHeight: height } = this.drawing;
    const above = this.covered();  // pixels at the top on which the camera's picture lies
    const scale = Math.max(4, Math.min((width - 48) / Math.max(right - left, 2), (height - 48 - above) / Math.max(high - low, 2), 120));
    Object.assign(this.view, { x: (left + right) / 2, y: (low + high) / 2 + above / 2 / scale, scale });
  }

  // -- drawing ------------------------------------------------------------------------------------------------

  paint() {
    if (!this.drawing.clientWidth) return;
    if (this.view.all) this.fit();
    const { known, robot, goal, guesses, mark } = this;
    const parts = [];
    const add = (name, attributes, text) => {
      const element = document.createElementNS(SPACE, name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      if (text !== undefined) element.textContent = text;
      parts.push(element);
    };
    const ring = ([a, b, direction], pose, attributes) => {
      const [x, y] = this.screen(pose), s = this.view.scale;
      add("ellipse", { rx: Math.max(a * s, 5), ry: Math.max(b * s, 5), transform: `translate(${x} ${y}) rotate(${-deg(direction)})`, ...attributes });
    };
    const line = (points, attributes) =>
      points.length > 1 && add("path", { d: "M" + points.map((p) => this.screen(p).map(Math.round).join(" ")).join("L"), ...attributes });

    const near = Math.max(0.7 * this.view.scale, 5);
    add("g", { class: "ground" });
    const ground = parts.pop();
    for (const pose of known.viewpoints) {
      const [x, y] = this.screen(pose);
      add("circle", { cx: x, cy: y, r: near });
    }
    ground.append(...parts.splice(0));
    parts.push(ground);
    line(robot ? [...known.path, robot] : known.path, { class: "path" });
    const dots = known.viewpoints.map((p) => this.screen(p));
    add("path", { class: "known", d: dots.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("") });
    const looks = known.viewpoints.map((p, i) => `M${dots[i].map((v) => v.toFixed(1)).join(" ")}l${(9 * Math.cos(p[2])).toFixed(1)} ${(-9 * Math.sin(p[2])).toFixed(1)}`);
    add("path", { class: "looks", d: looks.join("") });

    if (goal?.pose && robot) line([robot, goal.pose], { class: "way" });
    if (goal?.pose) {
      if (goal.ellipse) ring(goal.ellipse, goal.pose, { class: "goal-ring" });
      this.arrow(add, goal.pose, "goal", 1);
    }
    for (const place of known.places) this.place(add, place);
    [...guesses.keys()].reverse().forEach((i) => {
      const chosen = i === this.picked ? " picked" : "";
      ring(guesses[i].ellipse, guesses[i].pose, { class: "goal-ring guess" + chosen });
      this.arrow(add, guesses[i].pose, "goal guess" + chosen, 1.15);
      if (guesses.length > 1) add("text", { class: "number", x: this.screen(guesses[i].pose)[0], y: this.screen(guesses[i].pose)[1] + 4 }, i + 1);
    });
    if (mark) {
      const [x, y] = this.screen(mark);
      add("path", { class: "mark", d: `M${x - 12} ${y}h24M${x} ${y - 12}v24` });
    }
    if (robot) {
      if (this.robotEllipse) ring(this.robotEllipse, robot, { class: "certain" });
      this.arrow(add, robot, "robot", 1.3);
    }
    this.scale(add);
    this.drawing.replaceChildren(...parts);
    this.drawing.classList.toggle("far", this.view.scale < 25);
    if (robot) this.words.textContent = word("map_words", known.viewpoints.length, known.places.length, number(robot[0], 1), number(robot[1], 1));
  }

  arrow(add, pose, name, size) {
    const [x, y] = this.screen(pose);
    add("path", { class: name, d: "M14 0L-9 9L-4 0L-9 -9z", transform: `translate(${x} ${y}) rotate(${-deg(pose[2])}) scale(${size})` });
  }

  place(add, place) {
    if (!place.pose) return;
    const [x, y] = this.screen(place.pose);
    add("path", { class: "place", d: "M0 0C-4 -7 -8 -10 -8 -15A8 8 0 0 1 8 -15C8 -10 4 -7 0 0z", transform: `translate(${x} ${y})` });
    const label = place.name === "pin" ? word("pin") : place.name;
    const end = x > this.drawing.clientWidth * 0.66;
    add("text", { x: x + (end ? -11 : 11), y: y - 11, "text-anchor": end ? "end" : "start" }, label.length > 22 ? label.slice(0, 21) + "…" : label);
  }

  scale(add) {
    const metres = STEPS.find((m) => m * this.view.scale >= 45) ?? STEPS.at(-1);
    const length = metres * this.view.scale, { clientWidth: width, clientHeight: height } = this.drawing;
    add("path", { class: "scale", d: `M${width - 14 - length} ${height - 14}v4h${length}v-4` });
    add("text", { class: "scale-words", x: width - 14, y: height - 17 }, `${number(metres, metres < 1 ? 1 : 0)} m`);
  }

  // -- fingers, mouse and keys --------------------------------------------------------------------------------

  listen() {
    const { drawing, pointers } = this;
    const at = (event) => { const box = drawing.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    drawing.addEventListener("pointerdown", (event) => {
      drawing.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, at(event));
      this.moved = pointers.size > 1 ? Infinity : 0;
    });
    drawing.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = at(event), others = [...pointers].filter(([id]) => id !== event.pointerId);
      pointers.set(event.pointerId, now);
      this.moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (this.moved < 8) return;
      if (others.length) {
        const other = others[0][1];
        this.zoom(apart(now, other) / Math.max(apart(before, other), 1), other);
      } else {
        this.view.x -= (now[0] - before[0]) / this.view.scale;
        this.view.y += (now[1] - before[1]) / this.view.scale;
        this.view.all = false;
        this.draw();
      }
    });
    const lift = (event) => {
      if (pointers.delete(event.pointerId) && event.type === "pointerup" && this.moved < 8) this.tap(at(event));
    };
    drawing.addEventListener("pointerup", lift);
    drawing.addEventListener("pointercancel", lift);
    drawing.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY / 400), at(event)); }, { passive: false });
    drawing.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (step) Object.assign(this.view, { x: this.view.x + step[0] * 40 / this.view.scale, y: this.view.y + step[1] * 40 / this.view.scale, all: false });
      else if (event.key === "+") this.zoom(1.3);
      else if (event.key === "-") this.zoom(1 / 1.3);
      else return;
      event.preventDefault();
      this.draw();
    });
  }

  tap(at) {
    const things = [
      ...this.guesses.map((guess, i) => ({ pose: guess.pose, thing: { guess: i } })),
      ...this.known.places.filter((p) => p.pose).map((place) => ({ pose: place.pose, thing: { place }, lift: 12 })),
    ];
    const distances = things.map(({ pose, lift = 0 }) => { const [x, y] = this.screen(pose); return apart(at, [x, y - lift]); });
    const nearest = distances.indexOf(Math.min(...distances));
    if (things.length && distances[nearest] < NEAR) this.onTap(things[nearest].thing);
    else this.onTap({ pose: [...this.world(at).map((v) => Math.round(v * 100) / 100), 0] });
  }
}

const deg = (radians) => radians * 180 / Math.PI;
const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
