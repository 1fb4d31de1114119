// The page's words. Another language: one more column here.
const TABLE = {
  en: {
    language: "English", enter_title: "Your robot", token: "Token", enter: "Enter",
    enter_how: "Scan the QR code on the robot's terminal, or type the token that is in the file named in its log.",
    go_how: "This token may watch and stop. To send the robot, enter the second one.",
    wrong_token: "That is not the token.", too_many: "Too many wrong tokens. Wait {0} s.",
    map: "Map of what the robot knows", zoom_in: "Larger", zoom_out: "Smaller", zoom_all: "Show everything",
    camera_larger: "The robot's camera; tap for larger or smaller", camera: "What the robot's camera sees",
    take_photo: "Take a photo", choose_photo: "Choose a photo", places: "Places", no_places: "No places yet",
    add_here: "Add a place here", asking: "Where is this?",
    taken_with: "Taken with", by_robot: "the robot's camera", by_phone: "a phone (1×)", by_phone_wide: "a phone, wide (0.5×)",
    cancel: "Cancel", save_place: "Name it", save: "Save", go: "Go", remove: "Remove", close: "Close", stop: "Stop",
    name_label: "Name of the place", your_photo: "Your photo", goal_photo: "Photo of the goal",
    sure: "{0} % sure", here_sure: "Here, {0} % sure", maybe: "Not sure: perhaps here, {0} %", never_seen: "The robot has hardly seen this place",
    away: "{0} m from the robot", or_there: "or there", guess: "{0}: {1} %",
    pin: "Point on the map", point: "A point on the map", lost: "What was around is no longer in memory",
    driving_to: "On the way to {0}", a_photo: "the photo", a_point: "the point", elsewhere: "a goal from elsewhere",
    left: "{0} m to go", starting: "Setting off …",
    arrived: "There!", stopped: "Stopped", failed: "Did not get there", replaced: "Sent elsewhere",
    stopping: "Stopping …", stop_sure: "The robot was told to stop.",
    other_goal: "Somebody else sent the robot elsewhere.", other_stop: "Somebody stopped the robot.",
    saved: "{0} is saved.", replaced_place: "{0} is another place now.", removed: "{0} is removed.",
    offline: "No connection to the robot. Trying again …",
    m_absent: "The robot's memory does not answer", m_inactive: "The memory is switched off", m_waiting: "Waiting: {0}",
    m_localizing: "Looking for where it is: {0}", m_running: "Knows where it is", m_hold: "On hold: {0}", m_failed: "In trouble: {0}",
    map_words: "{0} places seen, {1} with a name. The robot is at {2}, {3} metres.",
    e_103: "The robot has not seen this place.", e_104: "The robot has not looked around yet.", e_116: "Too uncertain: it may be another place.",
    e_117: "It stopped beside the goal.", e_110: "It found no way there.", e_108: "The robot's driver (Nav2) is not running.",
    e_119: "There is no such place any more.", e_118: "The place there looks different from the photo.",
    go_token: "To send the robot, enter the second token", sign_in: "Enter",
    too_large: "The photo is too large.", input: "This is no photo that can be read.",
  },
  de: {
    language: "Deutsch", enter_title: "Ihr Roboter", token: "Schlüssel", enter: "Eintreten",
    enter_how: "Den QR-Code am Terminal des Roboters scannen, oder den Schlüssel aus der Datei eingeben, die das Protokoll nennt.",
    go_how: "Dieser Schlüssel darf zusehen und anhalten. Zum Losschicken den zweiten eingeben.",
    wrong_token: "Das ist nicht der Schlüssel.", too_many: "Zu viele falsche Schlüssel. Bitte {0} s warten.",
    map: "Karte dessen, was der Roboter kennt", zoom_in: "Größer", zoom_out: "Kleiner", zoom_all: "Alles zeigen",
    camera_larger: "Kamera des Roboters; antippen für größer oder kleiner", camera: "Was die Kamera des Roboters sieht",
    take_photo: "Foto machen", choose_photo: "Foto wählen", places: "Orte", no_places: "Noch keine Orte",
    add_here: "Ort hier anlegen", asking: "Wo ist das?",
    taken_with: "Kamera", by_robot: "die des Roboters", by_phone: "ein Handy (1×)", by_phone_wide: "ein Handy, weit (0,5×)",
    cancel: "Abbrechen", save_place: "Benennen", save: "Sichern", go: "Los", remove: "Entfernen", close: "Schließen", stop: "Stopp",
    name_label: "Name des Ortes", your_photo: "Ihr Foto", goal_photo: "Foto des Ziels",
    sure: "zu {0} % sicher", here_sure: "Hier, zu {0} % sicher", maybe: "Unsicher: vielleicht hier, {0} %", never_seen: "Diesen Ort hat der Roboter kaum gesehen",
    away: "{0} m vom Roboter", or_there: "oder dort", guess: "{0}: {1} %",
    pin: "Punkt auf der Karte", point: "Ein Punkt auf der Karte", lost: "Die Umgebung ist nicht mehr im Gedächtnis",
    driving_to: "Unterwegs: {0}", a_photo: "zum Foto", a_point: "zum Punkt", elsewhere: "ein Ziel von anderswo",
    left: "noch {0} m", starting: "Fährt los …",
    arrived: "Angekommen!", stopped: "Angehalten", failed: "Nicht angekommen", replaced: "Anderswohin geschickt",
    stopping: "Hält an …", stop_sure: "Der Roboter soll anhalten.",
    other_goal: "Jemand anderes hat den Roboter anderswohin geschickt.", other_stop: "Jemand hat den Roboter angehalten.",
    saved: "{0} ist gesichert.", replaced_place: "{0} ist jetzt ein anderer Ort.", removed: "{0} ist entfernt.",
    offline: "Keine Verbindung zum Roboter. Neuer Versuch …",
    m_absent: "Das Gedächtnis des Roboters antwortet nicht", m_inactive: "Das Gedächtnis ist ausgeschaltet", m_waiting: "Wartet: {0}",
    m_localizing: "Sucht, wo er ist: {0}", m_running: "Weiß, wo er ist", m_hold: "Angehalten: {0}", m_failed: "Gestört: {0}",
    map_words: "{0} Orte gesehen, {1} mit Namen. Der Roboter ist bei {2}, {3} Metern.",
    e_103: "Diesen Ort hat der Roboter nicht gesehen.", e_104: "Der Roboter hat sich noch nicht umgesehen.", e_116: "Zu unsicher: es könnte ein anderer Ort sein.",
    e_117: "Er hielt neben dem Ziel.", e_110: "Er fand keinen Weg dorthin.", e_108: "Die Fahrsteuerung (Nav2) läuft nicht.",
    e_119: "Diesen Ort gibt es nicht mehr.", e_118: "Dort sieht es anders aus als auf dem Foto.",
    go_token: "Zum Losschicken den zweiten Schlüssel eingeben", sign_in: "Eintreten",
    too_large: "Das Foto ist zu groß.", input: "Das ist kein lesbares Foto.",
  },
};

const stored = (() => { try { return localStorage.getItem("language"); } catch { return null; } })();
let language = stored in TABLE ? stored : navigator.language?.slice(0, 2) in TABLE ? navigator.language.slice(0, 2) : "en";

export function word(key, ...values) {
  const text = TABLE[language][key] ?? TABLE.en[key] ?? "";
  return values.reduce((result, value, i) => result.replace(`{${i}}`, value), text);
}

export const number = (value, digits) => value.toLocaleString(language, { maximumFractionDigits: digits, minimumFractionDigits: digits });

export function nextLanguage() {
  const names = Object.keys(TABLE);
  return TABLE[names[(names.indexOf(language) + 1) % names.length]].language;
}

export function switchLanguage() {
  const names = Object.keys(TABLE);
  language = names[(names.indexOf(language) + 1) % names.length];
  try { localStorage.setItem("language", language); } catch { /* a private window */ }
  write();
}

// Puts the words into the page's elements.
export function write() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", word(element.dataset.label));
}
