// The page: one sheet below the map shows what can be done now.
import { Refused, ask, listen, me, watchCamera } from "./api.js";
import { RobotMap } from "./map.js";
import { nextLanguage, number, switchLanguage, word, write } from "./words.js";

const $ = (id) => document.getElementById(id);
const SHEETS = ["idle", "asking", "answer", "chosen", "naming", "driving"];
const percent = (p) => Math.round(100 * p);
const map = new RobotMap($("drawing"), $("map-words"), covered, tapped);

let role = "nobody";
let state = null;
let photo = null;  // {file, url, answer, guess} that was asked about
let chosen = null;  // {place} or {pose}
let name_ = null;  // what a name is being given to
let closed = 0;  // the number of the drive whose end was read
let first = 0;  // metres at the beginning of the drive
let busy = "";  // a sheet that stays until its work is done

// A small picture of the camera lies on a narrow map; a large one hides it anyhow.
function covered() {
  const camera = $("camera"), over = camera.offsetLeft < $("map").offsetLeft + $("map").offsetWidth;
  return over && !camera.classList.contains("large") ? Math.min(camera.offsetHeight, $("map").offsetHeight / 3) : 0;
}

// -- the sheet -----------------------------------------------------------------------------------------------

function current() {
  if (busy) return busy;
  if (name_) return "naming";
  if (photo?.answer) return "answer";
  if (chosen) return "chosen";
  return state && state.drive.number > closed ? "driving" : "idle";
}

function show() {
  const sheet = current();
  for (const name of SHEETS) $(name).hidden = name !== sheet;
  if (sheet === "driving") $("idle").hidden = false;  // a newer goal may come at any time
  if (sheet === "answer") showAnswer();
  if (sheet === "chosen") showChosen();
  if (sheet === "driving") showDrive();
  const drive = state?.drive;
  const driving = drive?.state === "driving";
  map.show({
    guesses: photo?.answer?.guesses ?? [], picked: photo?.guess ?? 0, mark: chosen?.pose ?? null,
    goal: drive?.pose && (driving || sheet === "driving") ? drive : null,
  });
  for (const button of document.querySelectorAll(".go, #add-here, #answer-save, #chosen-save, #chosen-remove")) button.disabled = role !== "drive";
}

function showAnswer() {
  const { answer, guess, url } = photo, best = answer.guesses[guess];
  $("answer-photo").src = url;
  $("answer-photo").alt = word("your_photo");
  const title = answer.seen < 0.5 ? "never_seen" : best.confidence < 0.5 ? "maybe" : "here_sure";
  $("answer-title").textContent = word(title, percent(best.confidence));
  $("answer-words").textContent = distance(best.pose);
  $("guesses").replaceChildren(...(answer.guesses.length < 2 ? [] : answer.guesses.map((g, i) => item(
    word("guess", i ? `${i + 1} · ${word("or_there")}` : "1", percent(g.confidence)), () => { photo.guess = i; show(); }, i === guess))));
  $("taken-with").hidden = answer.hfov_source === "exif";
}

function showChosen() {
  const { place, pose } = chosen, known = place ? place.pose : pose;
  $("chosen-title").textContent = place ? title(place) : word("point");
  $("chosen-words").textContent = known ? distance(known) : word("lost");
  $("chosen-remove").hidden = !place;
  $("chosen-save").hidden = Boolean(place && place.name !== "pin");
  $("chosen-go").hidden = !known;
}

function showDrive() {
  const drive = state.drive, driving = drive.state === "driving", target = drive.target;
  const goal = !target ? word("elsewhere") : target.photo && !target.guess ? word("a_photo") : target.place && target.place !== "pin" ? target.place : word("a_point");
  $("drive-title").textContent = driving ? word("driving_to", goal) : word(drive.state);
  const why = word("e_" + drive.code) || drive.message;
  const left = drive.distance === null ? word("starting") : word("left", number(drive.distance, 1));
  $("drive-words").textContent = driving ? left + (drive.confidence === null ? "" : ` · ${word("sure", percent(drive.confidence))}`) : drive.state === "failed" ? why : "";
  $("drive-words").title = drive.message;
  if (drive.distance !== null) first = Math.max(first, drive.distance);
  if (!driving) first = 0;
  const progress = $("progress");
  progress.hidden = !driving;
  if (drive.distance === null || !first) progress.removeAttribute("value");
  else progress.value = 1 - drive.distance / first;
  $("drive-close").hidden = driving;
  const picture = $("drive-photo"), source = target?.photo ? `api/photos/${target.photo}` : "";
  picture.hidden = !source;
  if (source && picture.getAttribute("src") !== source) picture.src = source;
  picture.alt = word("goal_photo");
}

const title = (place) => place.name === "pin" ? word("pin") : place.name;
const distance = (pose) => state?.pose ? word("away", number(Math.hypot(pose[0] - state.pose[0], pose[1] - state.pose[1]), 1)) : "";

function item(text, onClick, pressed) {
  const li = document.createElement("li"), button = document.createElement("button");
  button.textContent = text;
  button.type = "button";
  if (pressed !== undefined) button.setAttribute("aria-pressed", pressed);
  button.addEventListener("click", onClick);
  li.append(button);
  return li;
}

function showPlaces() {
  const items = map.known.places.filter((place) => place.name !== "pin").map((place) => {
    const li = item(place.name, () => tapped({ place }));
    if (!place.pose) li.firstChild.className = "lost";
    return li;
  });
  if (!items.length) {
    const li = document.createElement("li");
    li.className = "none";
    li.textContent = word("no_places");
    items.push(li);
  }
  $("places").replaceChildren(...items);
}

let telling = null;
function tell(text) {
  $("told").textContent = text;
  $("told").hidden = !text;
  clearTimeout(telling);
  telling = setTimeout(() => { $("told").hidden = true; }, 7000);
}

// Does something the server may refuse, and says why.
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) enter();
    else if (error.key === "go_token") enter(true);
    else tell(["offline", "too_large", "input"].includes(error.key) ? word(error.key) : error.message);
  }
}

// -- what people do ------------------------------------------------------------------------------------------

function tapped(thing) {
  if (busy || name_) return;
  if (thing.guess !== undefined) photo.guess = thing.guess;
  else if (!photo?.answer) chosen = thing;
  show();
}

async function askAbout(file, hfov) {
  busy = "asking";
  chosen = null;
  show();
  const answer = await attempt(() => ask("POST", `api/photos?hfov_deg=${hfov}`, file));
  busy = "";
  if (answer) {
    if (photo?.url && photo.file !== file) URL.revokeObjectURL(photo.url);
    photo = { file, url: photo?.file === file ? photo.url : URL.createObjectURL(file), answer, guess: 0 };
    map.all();
  }
  show();
  if (answer) $("answer-title").focus();
}

for (const id of ["camera-file", "photo-file"]) {
  $(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";  // the same file again is a new question
    $("hfov").value = "0";
    if (file) askAbout(file, 0);
  });
}
$("hfov").addEventListener("change", () => askAbout(photo.file, $("hfov").value));

function forget() {
  photo = chosen = name_ = null;
  show();
}

const target = () => photo?.answer ? { photo: photo.answer.id, guess: photo.guess } : chosen.place ? { place: chosen.place.name } : { pose: chosen.pose };

async function go() {
  const where = target();
  const began = await attempt(() => ask("POST", "api/goal", where));
  if (began) {
    first = 0;
    closed = Math.min(closed, began.drive - 1);
    forget();
  }
}

async function save(event) {
  event.preventDefault();
  const name = $("name").value.trim(), what = name_;
  if (!name) return;
  const done = await attempt(() => ask("PUT", `api/places/${encodeURIComponent(name)}`, what));
  if (!done) return;
  name_ = null;
  tell(word(done.replaced ? "replaced_place" : "saved", name));
  if (chosen) chosen = null;
  show();
}

function giveName(what) {
  name_ = what;
  $("name").value = "";
  show();
  $("name").focus();
}

async function remove() {
  const name = chosen.place.name;
  if (await attempt(() => ask("DELETE", `api/places/${encodeURIComponent(name)}`))) {
    tell(word("removed", title(chosen.place)));
    forget();
  }
}

async function stop() {
  $("stop").textContent = word("stopping");
  const done = await attempt(() => ask("POST", "api/stop"));
  $("stop").textContent = word("stop");
  if (done) tell(word("stop_sure"));
}

for (const [id, action] of Object.entries({
  "answer-go": go, "chosen-go": go, "answer-cancel": forget, "chosen-cancel": forget, "chosen-remove": remove, stop,
  "answer-save": () => giveName(target()), "chosen-save": () => giveName({ pose: chosen.pose ?? chosen.place.pose }),
  "add-here": () => giveName({}), "naming-cancel": () => { name_ = null; show(); },
  "drive-close": () => { closed = state.drive.number; show(); },
  "zoom-in": () => map.zoom(1.4), "zoom-out": () => map.zoom(1 / 1.4), "zoom-all": () => map.all(),
  camera: () => $("camera").classList.toggle("large"),
  language: () => { switchLanguage(); repaint(); },
})) $(id).addEventListener("click", action);
$("naming").addEventListener("submit", save);

// -- what the robot says -------------------------------------------------------------------------------------

function heard(kind, data) {
  if (kind === "map") {
    map.show({ known: data });
    showPlaces();
    return;
  }
  const before = state?.drive;
  state = data;
  const drive = data.drive;
  if (!before && drive.state !== "driving") closed = drive.number;  // of before this page was opened
  if (before && before.by === me && before.state === "driving") {
    if (drive.number !== before.number && drive.by !== me) tell(word("other_goal"));
    else if (drive.state === "stopped" && !$("stop").dataset.mine) tell(word("other_stop"));
  }
  map.show({ robot: data.pose, robotEllipse: data.ellipse });
  showStatus();
  show();
}

function showStatus() {
  $("lamp").className = { running: "good", absent: "bad", failed: "bad" }[state.memory] ?? "warn";
  $("status").textContent = word("m_" + state.memory, state.waiting_for).replace(/: $/, "");
}

function silent() {
  $("lamp").className = "bad";
  $("status").textContent = word("offline");
  ask("GET", "api/role").then((answer) => { if (answer.role === "nobody") enter(); }, () => {});
}

function repaint() {
  write();
  $("language").textContent = nextLanguage();
  $("picture").alt = word("camera");
  showPlaces();
  if (state) showStatus();
  show();
}

// -- coming in -----------------------------------------------------------------------------------------------

let started = false;
function enter(second) {
  $("robot").hidden = true;
  $("entrance").hidden = false;
  document.querySelector("[data-word^=enter_how], [data-word^=go_how]").dataset.word = second ? "go_how" : "enter_how";
  write();
  $("token").focus();
}

async function comeIn(token) {
  try {
    if (token) role = (await ask("POST", "api/login", { token })).role;
    else role = (await ask("GET", "api/role")).role;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    $("login-problem").textContent = error.status === 429 ? word("too_many", error.wait) : error.status === 401 ? word("wrong_token") : error.message || word("offline");
  }
  if (role === "nobody") return enter();
  $("token").value = "";
  $("login-problem").textContent = "";
  $("entrance").hidden = true;
  $("robot").hidden = false;
  repaint();
  if (started) return;
  started = true;
  listen(heard, silent);
  watchCamera($("picture"), () => state?.camera);
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  comeIn($("token").value.trim());
});

function fromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname);  // not to be seen, sent on or kept
  return token;
}
addEventListener("hashchange", () => { const token = fromAddress(); if (token) comeIn(token); });
write();
comeIn(fromAddress());
