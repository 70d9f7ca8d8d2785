// What `<grad-cam>` says, in the language of its host.

/**
 * Words by language and English words; a `{name}` stands for what is put in. Whoever needs another language adds a table:
 * `WORDS.fr = { Method: "Méthode", … }`. What a table leaves out is said in English.
 * @type {Record<string, Record<string, string>>}
 */
export const WORDS = {
  de: {
    Method: "Verfahren",
    Opacity: "Deckkraft",
    Original: "Original",
    "Hold to see the image alone": "Halten, um nur das Bild zu sehen",
    Classes: "Klassen",
    "Explaining the image": "Das Bild wird erklärt",
    "{method} heatmap for {label}, {percent}": "Heatmap von {method} für {label}, {percent}",
    "{method} heatmap against {label}, {percent}": "Heatmap von {method} gegen {label}, {percent}",
    "{method} heatmap for {label} rather than {rival}, {percent}":
      "Heatmap von {method} für {label} und nicht {rival}, {percent}",
    "{method} heatmap against {label} rather than {rival}, {percent}":
      "Heatmap von {method} gegen {label} und nicht {rival}, {percent}",
    "A concept of a layer": "Ein Konzept einer Schicht",
    "Activations of channel {channel}": "Aktivierungen von Kanal {channel}",
    "{label}, {percent} · {method}": "{label}, {percent} · {method}",
    "This is the first frame of an animation.": "Dies ist das erste Bild einer Animation.",
    "Warm places speak most for this class.": "Warme Stellen sprechen am meisten für diese Klasse.",
    "Warm places speak most against this class.": "Warme Stellen sprechen am meisten gegen diese Klasse.",
    "Warm places change the score of this class most, up or down.":
      "Warme Stellen ändern den Wert dieser Klasse am meisten, nach oben oder unten.",
    "Warm places stand out most at this layer, whatever the class.":
      "Warme Stellen fallen in dieser Schicht am meisten auf, gleich bei welcher Klasse.",
    "Nothing at this layer changes the score of this class; another layer may show more.":
      "Nichts in dieser Schicht ändert den Wert dieser Klasse; eine andere Schicht zeigt vielleicht mehr.",
    "No place at this layer speaks for this class: all evidence is against it or absent.":
      "Keine Stelle dieser Schicht spricht für diese Klasse: alles spricht dagegen oder ist gleichgültig.",
    "No place at this layer speaks against this class: all evidence is for it or absent.":
      "Keine Stelle dieser Schicht spricht gegen diese Klasse: alles spricht dafür oder ist gleichgültig.",
    "Every place speaks for this class equally, so there is nothing to highlight.":
      "Jede Stelle spricht gleich stark für diese Klasse; es gibt nichts hervorzuheben.",
    "Every place speaks against this class equally, so there is nothing to highlight.":
      "Jede Stelle spricht gleich stark gegen diese Klasse; es gibt nichts hervorzuheben.",
    "The computation overflowed at this layer, so there is no heatmap; try another layer.":
      "In dieser Schicht wurden die Zahlen zu groß, daher gibt es keine Heatmap; eine andere Schicht hilft vielleicht.",
  },
};

/** What a note says of a file with several frames. */
export const FIRST_FRAME = "This is the first frame of an animation.";

/** The language of an element: that of the nearest `lang` around it, across shadow roots. @param {Element} element */
export function languageOf(element) {
  for (let node = element; node; node = node.getRootNode?.().host) {
    const lang = node.closest?.("[lang]")?.getAttribute("lang");
    if (lang !== undefined && lang !== null) return lang;
  }
  return "";
}

/** English words in another language. @param {string} language @param {string} words @param {Record<string, unknown>} [parts] */
export function say(language, words, parts = {}) {
  const tags = [language.toLowerCase(), language.toLowerCase().split("-")[0]];
  const table = tags.map((tag) => WORDS[tag]).find(Boolean);
  return (table?.[words] ?? words).replace(/\{(\w+)\}/g, (whole, name) =>
    name in parts ? String(parts[name]) : whole,
  );
}

/**
 * What a map over an image is, in English words to be said. @param {{ method?: string, channel?: number, target?: string,
 * ratherThan?: number }} shown an explanation, a unit or a concept
 */
export function wordsFor({ method, channel, target, ratherThan }) {
  if (method === undefined) return channel === undefined ? "A concept of a layer" : "Activations of channel {channel}";
  const toward = target === "against" ? "against" : "for";
  return `{method} heatmap ${toward} {label}${ratherThan === undefined ? "" : " rather than {rival}"}, {percent}`;
}

/** The same for a caption: of what is shown usually no more than needed. @param {Parameters<typeof wordsFor>[0]} shown */
export function captionFor(shown) {
  const isUsual = shown.method !== undefined && shown.target !== "against" && shown.ratherThan === undefined;
  return isUsual ? "{label}, {percent} · {method}" : wordsFor(shown);
}

/** "93 %", with a decimal where it matters. @param {number} probability @param {string} [language] */
export function percent(probability, language) {
  if (Number.isNaN(probability)) return "– %";
  const digits = probability < 0.0995 ? 1 : 0;
  const isTiny = probability > 0 && probability < 0.001;
  const number = (isTiny ? 0.1 : 100 * probability).toFixed(isTiny ? 1 : digits);
  return `${isTiny ? "< " : ""}${number.replace(".", decimalOf(language))} %`;
}

/** Between whole numbers and parts. @param {string | undefined} language */
function decimalOf(language) {
  // Loading what Intl knows takes 70 ms.
  if (!language || language === "en") return ".";
  try {
    return new Intl.NumberFormat(language).format(0.5).replace(/\d/g, "") || ".";
  } catch {
    // No language that the browser knows.
    return ".";
  }
}

/** "1,000" @param {number} count a whole number */
export function grouped(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}
