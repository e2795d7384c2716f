// Runs in Chromium, started by contrast.py: lays out each page in a frame and measures its text. `task` says what.

const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

// Any colour of CSS as red, green, blue in 0..255 and alpha in 0..1.
function parse(colour) {
  const numbers = colour.match(/^rgba?\(([^)]*)\)$/)?.[1].split(",").map(Number);
  if (numbers) return [...numbers.slice(0, 3), numbers[3] ?? 1];
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}

const over = (above, below) => below.map((value, i) => (i < 3 ? above[3] * above[i] + (1 - above[3]) * value : 1));

function luminance(colour) {
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = colour.slice(0, 3).map((value) => linear(value / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one, other) {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

// What lies behind an element: the backgrounds of its ancestors over the colour of the page. Null if it is a picture.
function behind(element, view) {
  const layers = [];
  for (let each = element; each; each = each.parentElement) {
    const { backgroundColor, backgroundImage } = view.getComputedStyle(each);
    if (backgroundImage !== "none") return null;
    layers.unshift(parse(backgroundColor));
    if (layers[0][3] === 1) break;
  }
  return layers.reduce((below, above) => over(above, below), [255, 255, 255, 1]);
}

function opacity(element, view) {
  let product = 1;
  for (let each = element; each; each = each.parentElement) product *= view.getComputedStyle(each).opacity;
  return product;
}

function isSeen(element, view) {
  const box = element.getBoundingClientRect();
  if (!element.checkVisibility({ visibilityProperty: true }) || box.width < 2 || box.height < 2) return false;
  return !element.closest("script, style, noscript, [disabled]") && view.getComputedStyle(element).clip === "auto";
}

// The text nodes of a document that can be seen: words, size, ratio, and the ratio that is needed.
function* texts(page, view) {
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.data.trim();
    const element = walker.currentNode.parentElement;
    if (!words || !isSeen(element, view)) continue;
    const style = view.getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ground = behind(element, view);
    const colour = parse(style.color);
    colour[3] *= opacity(element, view);
    const path = `${element.parentElement.tagName}.${element.parentElement.className} > ${element.tagName}.${element.className}`;
    yield { words, path: path.toLowerCase(), ratio: ground ? contrast(over(colour, ground), ground) : 0, needs: isLarge ? 3 : 4.5 };
  }
}

async function load(frame, page) {
  const loaded = new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
  frame.src = `/${page}`;
  await loaded;
  const style = frame.contentDocument.createElement("style");
  style.textContent = "* { transition: none !important; animation: none !important; }";
  frame.contentDocument.head.append(style);
}

async function measure() {
  const frame = document.createElement("iframe");
  frame.style = "border: 0; height: 900px";
  document.body.append(frame);
  const total = { pages: task.pages.length, texts: 0, least: Infinity };
  const amiss = [];
  for (const page of task.pages) {
    await load(frame, page);
    const root = frame.contentDocument.documentElement;
    for (const width of task.widths) {
      frame.style.width = `${width}px`;
      for (const theme of task.themes) {
        root.dataset.theme = root.dataset.mode = theme;
        const where = { page, theme, width };
        if (root.scrollWidth > width) amiss.push({ ...where, what: `is ${root.scrollWidth} pixels wide` });
        for (const { words, path, ratio, needs } of texts(frame.contentDocument, frame.contentWindow)) {
          total.texts += 1;
          total.least = Math.min(total.least, ratio);
          if (ratio < needs) amiss.push({ ...where, what: `${ratio.toFixed(2)} for ${JSON.stringify(words.slice(0, 40))} in ${path}` });
        }
      }
    }
  }
  total.least = total.least.toFixed(2);
  await fetch("/found", { method: "POST", body: JSON.stringify([total, ...amiss]) });
}

addEventListener("load", () => measure().catch((error) =>
  fetch("/found", { method: "POST", body: JSON.stringify([{ texts: 0, pages: 0, least: 0 }, { page: "", theme: "", width: 0, what: `${error}` }]) })));
