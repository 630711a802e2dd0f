// Texts of the page by language, and the formats of numbers.

import { keep, recall } from "./memory.js";

const TEXTS = {
  en: {
    language: "Language of this page",
    keyLabel: "This server asks for an API key",
    keySend: "Use this key",
    keyHint: "It stays in this tab until you close it.",
    keyWrong: "The server does not accept this key.",
    listenTitle: "Speak or choose a file",
    speak: "Speak",
    stop: "Stop",
    hint: "Press and speak, or hold the space bar. It stops when you do.",
    hintTouch: "Press and speak. It stops when you do.",
    hintRecording: "Release or press again to stop. Escape discards it.",
    noMicrophonePage: "The browser gives the microphone only to pages from https or localhost, and this is {origin}. Open the server by https, or by a forwarded port: kubectl port-forward service/{name} 8080:80, then http://localhost:8080. Choosing a file works here too.",
    choose: "Choose a recording",
    orDrop: "or drop it anywhere on this page",
    drop: "Drop the recording",
    again: "Try again",
    asking: "Allow the microphone in your browser.",
    recording: "Listening…",
    recognising: "Recognising…",
    discarded: "Discarded.",
    loading: "The model is loading…",
    busyWait: "The server is busy. Next try in {seconds} s.",
    heardText: "Heard: {text}.",
    heardSure: "Heard: {text}, {confidence} sure.",
    recordingName: "Recording, {time}",
    sure: "{confidence} sure",
    nothingSet: "None of the phrases",
    nothingSetWhy: "What was said is none of the phrases, or it was unclear.",
    nothing: "Nothing",
    nothingWhy: "No speech that the model knows was found.",
    freeText: "In free text, the model does not say how sure it is.",
    closest: "Closest phrases",
    also: "It could also have been",
    words: "Words by time",
    wordAt: "{word}, {confidence} sure, at {seconds} s. Play from here",
    wordAtPlain: "{word}, at {seconds} s. Play from here",
    play: "Play",
    earlier: "In this visit",
    phrasesTitle: "What it can hear",
    search: "Search the phrases",
    phrasesCount: "{count} phrases",
    phrasesFirst: "The first {count} phrases; there are more",
    phrasesFound: "{found} of {count}",
    phrasesFoundFirst: "{found} of the first {count}",
    more: "Show all",
    written: "as written",
    freeSpeech: "Any words: this model transcribes free text.",
    freeSpeechModel: "Any sentence of the words in its language model.",
    hotWords: "More likely: {words}.",
    modelTitle: "About the model",
    wrongWords: "Wrong words",
    unseen: "voices it never heard",
    seen: "voices in training",
    all: "all test clips",
    interval: "{rate}, between {low} and {high} with 95 % confidence, {clips} clips",
    between: "{low} to {high}, {clips} clips",
    rejectedPhrases: "Phrases without an answer",
    falseAccepts: "Other speech that got an answer",
    ofClips: "{part} of {whole}",
    data: "Recordings",
    dataText: "{clips} clips, {time}",
    speakers: "Voices",
    synthesized: "Synthetic takes",
    negatives: "Clips of other speech",
    trainingEpochs: "Epochs",
    epochsText: "{epochs}, best: {exported}",
    network: "Network",
    networkText: "{units} units",
    modelLanguage: "Language",
    version: "Version",
    digest: "Digest of the data",
    lossTitle: "Training",
    loss: "training loss",
    devLoss: "loss on dev clips",
    lossText: "Over {epochs} epochs, the training loss went from {first} to {last}.",
    devLossText: "The loss on dev clips went from {first} to {last}.",
    noCard: "This version was published without its figures. Publish it again to see them.",
    notMeasured: "The word error rate was not measured: there were no test clips.",
    programs: "From a program",
    programsHint: "OpenAI's clients work too; their base_url is this address and /v1.",
    privacy: "Recordings go to this server and nowhere else. It keeps none of them.",
    seconds: "{n} s",
    minutes: "{n} min",
    hours: "{n} h",
    noMicrophone: "No microphone was found. Connect one, or choose a recording.",
    denied: "The browser does not let this page use the microphone. Allow it beside the address, then try again.",
    inUse: "The microphone cannot be used. Another program may be using it.",
    silent: "Only silence was recorded. Is the microphone muted, or is another one selected?",
    brief: "That was too short. Hold on until you have spoken.",
    tooLarge: "{name} has {size}, and the server takes up to {limit}. Choose a shorter recording, or one as flac or ogg.",
    tooLong: "{name} is longer than the {limit} that the server takes. Cut it into parts.",
    unreadable: "{name} cannot be read as audio. It may be damaged, or not be a recording.",
    empty: "{name} contains no sound.",
    tooShort: "{name} is too short to contain a word.",
    tooSlow: "The upload took too long for the server. Try a shorter recording, or a faster line.",
    busy: "The server is busy.",
    unreachable: "The server does not answer. Check the connection.",
    other: "The server answered: {message}",
  },
  es: {
    language: "Idioma de esta página",
    keyLabel: "Este servidor pide una clave de API",
    keySend: "Usar esta clave",
    keyHint: "Se guarda en esta pestaña hasta que la cierres.",
    keyWrong: "El servidor no acepta esta clave.",
    listenTitle: "Habla o elige un archivo",
    speak: "Hablar",
    stop: "Parar",
    hint: "Pulsa y habla, o mantén la barra espaciadora. Se detiene cuando callas.",
    hintTouch: "Pulsa y habla. Se detiene cuando callas.",
    hintRecording: "Suelta o pulsa otra vez para parar. Escape la descarta.",
    noMicrophonePage: "El navegador da el micrófono solo a páginas por https o de localhost, y esta es {origin}. Abre el servidor por https, o por un puerto reenviado: kubectl port-forward service/{name} 8080:80, y después http://localhost:8080. Elegir un archivo también funciona aquí.",
    choose: "Elegir una grabación",
    orDrop: "o suéltala en cualquier parte de esta página",
    drop: "Suelta la grabación",
    again: "Intentar otra vez",
    asking: "Permite el micrófono en tu navegador.",
    recording: "Escuchando…",
    recognising: "Reconociendo…",
    discarded: "Descartada.",
    loading: "El modelo se está cargando…",
    busyWait: "El servidor está ocupado. Próximo intento en {seconds} s.",
    heardText: "Oído: {text}.",
    heardSure: "Oído: {text}, {confidence} seguro.",
    recordingName: "Grabación, {time}",
    sure: "{confidence} seguro",
    nothingSet: "Nada del conjunto",
    nothingSetWhy: "Lo dicho no es ninguna de las frases, o no se entendió.",
    nothing: "Nada",
    nothingWhy: "No se encontró habla que el modelo conozca.",
    freeText: "En texto libre, el modelo no dice qué tan seguro está.",
    closest: "Frases más cercanas",
    also: "También pudo ser",
    words: "Palabras en el tiempo",
    wordAt: "{word}, {confidence} seguro, a los {seconds} s. Reproducir desde aquí",
    wordAtPlain: "{word}, a los {seconds} s. Reproducir desde aquí",
    play: "Reproducir",
    earlier: "En esta visita",
    phrasesTitle: "Lo que puede oír",
    search: "Buscar en las frases",
    phrasesCount: "{count} frases",
    phrasesFirst: "Las primeras {count} frases; hay más",
    phrasesFound: "{found} de {count}",
    phrasesFoundFirst: "{found} de las primeras {count}",
    more: "Mostrar todas",
    written: "como se escribió",
    freeSpeech: "Cualquier palabra: este modelo transcribe texto libre.",
    freeSpeechModel: "Cualquier oración con las palabras de su modelo de lenguaje.",
    hotWords: "Más probables: {words}.",
    modelTitle: "Sobre el modelo",
    wrongWords: "Palabras erradas",
    unseen: "voces que nunca oyó",
    seen: "voces del entrenamiento",
    all: "todos los clips de prueba",
    interval: "{rate}, entre {low} y {high} con 95 % de confianza, {clips} clips",
    between: "{low} a {high}, {clips} clips",
    rejectedPhrases: "Frases sin respuesta",
    falseAccepts: "Otra habla que recibió respuesta",
    ofClips: "{part} de {whole}",
    data: "Grabaciones",
    dataText: "{clips} clips, {time}",
    speakers: "Voces",
    synthesized: "Tomas sintéticas",
    negatives: "Clips de otra habla",
    trainingEpochs: "Épocas",
    epochsText: "{epochs}, la mejor: {exported}",
    network: "Red",
    networkText: "{units} unidades",
    modelLanguage: "Idioma",
    version: "Versión",
    digest: "Huella de los datos",
    lossTitle: "Entrenamiento",
    loss: "pérdida de entrenamiento",
    devLoss: "pérdida en clips de desarrollo",
    lossText: "En {epochs} épocas, la pérdida de entrenamiento pasó de {first} a {last}.",
    devLossText: "La pérdida en clips de desarrollo pasó de {first} a {last}.",
    noCard: "Esta versión se publicó sin sus cifras. Publícala otra vez para verlas.",
    notMeasured: "La tasa de palabras erradas no se midió: no había clips de prueba.",
    programs: "Desde un programa",
    programsHint: "Los clientes de OpenAI también sirven; su base_url es esta dirección y /v1.",
    privacy: "Las grabaciones van a este servidor y a ningún otro lugar. No guarda ninguna.",
    seconds: "{n} s",
    minutes: "{n} min",
    hours: "{n} h",
    noMicrophone: "No se encontró un micrófono. Conecta uno, o elige una grabación.",
    denied: "El navegador no deja usar el micrófono a esta página. Permítelo junto a la dirección e intenta otra vez.",
    inUse: "El micrófono no se puede usar. Quizá lo usa otro programa.",
    silent: "Solo se grabó silencio. ¿Está el micrófono en silencio, o hay otro elegido?",
    brief: "Fue demasiado corto. Espera hasta haber hablado.",
    tooLarge: "{name} tiene {size}, y el servidor acepta hasta {limit}. Elige una grabación más corta, o en flac u ogg.",
    tooLong: "{name} dura más que los {limit} que acepta el servidor. Córtala en partes.",
    unreadable: "{name} no se puede leer como audio. Puede estar dañado, o no ser una grabación.",
    empty: "{name} no contiene sonido.",
    tooShort: "{name} es demasiado corto para contener una palabra.",
    tooSlow: "La subida tardó demasiado para el servidor. Prueba una grabación más corta, o una línea más rápida.",
    busy: "El servidor está ocupado.",
    unreachable: "El servidor no responde. Revisa la conexión.",
    other: "El servidor respondió: {message}",
  },
};
const CHOICE = "language";

let language = "en";

/** Return the language that the user chose here before, or the first of the browser's that the page has. */
export function preferredLanguage() {
  const wanted = [recall("localStorage", CHOICE), ...navigator.languages].map((tag) => tag.slice(0, 2));
  return wanted.find((tag) => tag in TEXTS) ?? "en";
}

/** Remember the language that the user chose. */
export function rememberLanguage(chosen) {
  keep("localStorage", CHOICE, chosen);
}

/** Put the page into a language. */
export function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-placeholder]")) element.placeholder = text(element.dataset.placeholder);
}

/** Return the text of a key, with its {names} replaced by `values`. */
export function text(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const number = (value, digits = 0) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);

export const percent = (share, digits = 0) =>
  new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(share);

export const clock = (date) => new Intl.DateTimeFormat(language, { timeStyle: "medium" }).format(date);

export const languageName = (tag) => new Intl.DisplayNames([language], { type: "language" }).of(tag);

/** Return a number of bytes in MB. */
export const megabytes = (bytes) => `${number(bytes / 1e6, 1)} MB`;

/** Return seconds in the largest unit of which there is at least one. */
export function duration(seconds) {
  if (seconds < 60) return text("seconds", { n: number(seconds, seconds < 10 ? 1 : 0) });
  if (seconds < 3600) return text("minutes", { n: number(seconds / 60, seconds < 600 ? 1 : 0) });
  return text("hours", { n: number(seconds / 3600, 1) });
}
