// Paints numbers over a photo: labels of the person, or where the garment is.

const dialog = document.querySelector('#brush');
const view = dialog.querySelector('.paint');
const [photoCanvas, overCanvas] = dialog.querySelectorAll('canvas');
const cursor = dialog.querySelector('.cursor');
const sizeInput = dialog.querySelector('#brush-size');
const colours = dialog.querySelector('.colours');
const UNDOS = 12;

let map, palette, value, past, at;

function swatch([r, g, b]) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('fill', `rgb(${r},${g},${b})`);
  svg.setAttribute('viewBox', '0 0 1 1');
  svg.innerHTML = '<rect width="1" height="1"/>';
  return svg;
}

function choose(number) {
  value = number;
  for (const button of colours.children) {
    const on = Number(button.dataset.value) === number;
    button.setAttribute('aria-checked', on);
    button.tabIndex = on ? 0 : -1;
  }
}

function showChoices(choices) {
  colours.replaceChildren(...choices.map(({name, value: number}) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.setAttribute('role', 'radio');
    button.dataset.value = number;
    button.append(swatch(palette[number]), name);
    button.onclick = () => choose(number);
    return button;
  }));
  colours.onkeydown = (event) => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
    if (!(event.key in step)) return;
    event.preventDefault();
    const all = [...colours.children];
    const now = all.findIndex((x) => x.tabIndex === 0);
    const next = all[(now + step[event.key] + all.length) % all.length];
    choose(Number(next.dataset.value));
    next.focus();
  };
}

// Redraws a part of the overlay from the numbers.
function draw(left, top, right, bottom) {
  const x0 = Math.max(left, 0), y0 = Math.max(top, 0);
  const w = Math.min(right, map.width) - x0;
  const h = Math.min(bottom, map.height) - y0;
  if (w <= 0 || h <= 0) return;
  const pixels = new ImageData(w, h);
  for (let y = 0; y < h; y += 1) {
    for (let x = 0; x < w; x += 1) {
      const number = map.values[(y0 + y) * map.width + x0 + x];
      const to = 4 * (y * w + x);
      if (number) {
        const [r, g, b] = palette[number];
        pixels.data.set([r, g, b, 255], to);
      }
    }
  }
  overCanvas.getContext('2d').putImageData(pixels, x0, y0);
}

const radius = () => Math.max(
  1, (sizeInput.value / 400) * Math.max(map.width, map.height),
);

function dab({x, y}) {
  const r = radius();
  const top = Math.floor(y - r), bottom = Math.ceil(y + r) + 1;
  for (let row = Math.max(top, 0); row < Math.min(bottom, map.height); row += 1) {
    const half = Math.sqrt(Math.max(r * r - (row - y) ** 2, 0));
    const from = Math.max(Math.round(x - half), 0);
    const to = Math.min(Math.round(x + half) + 1, map.width);
    if (from < to) {
      map.values.fill(value, row * map.width + from, row * map.width + to);
    }
  }
  draw(Math.floor(x - r) - 1, top, Math.ceil(x + r) + 2, bottom);
}

function stroke(from, to) {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const steps = Math.max(1, Math.ceil(length / (radius() / 2)));
  for (let i = 0; i <= steps; i += 1) {
    const t = i / steps;
    dab({x: from.x + t * (to.x - from.x), y: from.y + t * (to.y - from.y)});
  }
}

function remember() {
  past.push(map.values.slice());
  if (past.length > UNDOS) past.shift();
}

function point(event) {
  const box = overCanvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * map.width,
    y: ((event.clientY - box.top) / box.height) * map.height,
  };
}

function moveCursor(to) {
  at = to;
  const box = overCanvas.getBoundingClientRect();
  const outer = view.getBoundingClientRect();
  const scale = box.width / map.width;
  const size = 2 * radius() * scale;
  Object.assign(cursor.style, {
    width: `${size}px`,
    height: `${size}px`,
    left: `${box.left - outer.left + to.x * scale - size / 2}px`,
    top: `${box.top - outer.top + to.y * scale - size / 2}px`,
  });
}

view.onpointerdown = (event) => {
  if (!map) return;
  view.setPointerCapture(event.pointerId);
  remember();
  moveCursor(point(event));
  dab(at);
};
view.onpointermove = (event) => {
  if (!map) return;
  const before = at;
  moveCursor(point(event));
  if (event.buttons) stroke(before, at);
};
view.onkeydown = (event) => {
  const step = radius();
  const moves = {
    ArrowLeft: [-step, 0], ArrowRight: [step, 0],
    ArrowUp: [0, -step], ArrowDown: [0, step],
  };
  if (event.key in moves) {
    const [dx, dy] = moves[event.key];
    moveCursor({
      x: Math.min(Math.max(at.x + dx, 0), map.width),
      y: Math.min(Math.max(at.y + dy, 0), map.height),
    });
  } else if (event.key === ' ') {
    remember();
    dab(at);
  } else return;
  event.preventDefault();
};
sizeInput.oninput = () => map && moveCursor(at);

// Resolves to the painted map, or null.
//   photo: what lies below.
//   start: {values, width, height} of the photo's size; painted on a copy.
//   colours: of each number; choices: [{name, value}], the first is chosen.
export function paint({title, help, photo, start, colours: rgb, choices, problem}) {
  map = {...start, values: start.values.slice()};
  palette = rgb;
  past = [];
  dialog.querySelector('h2').textContent = title;
  dialog.querySelector('#brush-help').textContent = help;
  const error = dialog.querySelector('.error');
  error.textContent = problem || '';
  error.hidden = !problem;
  for (const canvas of [photoCanvas, overCanvas]) {
    canvas.width = map.width;
    canvas.height = map.height;
  }
  photoCanvas.getContext('2d').drawImage(photo, 0, 0, map.width, map.height);
  showChoices(choices);
  choose(choices[0].value);
  draw(0, 0, map.width, map.height);
  dialog.showModal();
  moveCursor({x: map.width / 2, y: map.height / 2});
  view.focus();
  return new Promise((resolve) => {
    let answer = null;
    dialog.querySelector('[data-do=undo]').onclick = () => {
      if (!past.length) return;
      map.values = past.pop();
      draw(0, 0, map.width, map.height);
    };
    dialog.querySelector('[data-do=use]').onclick = () => {
      answer = map;
      dialog.close();
    };
    dialog.querySelector('[data-do=close]').onclick = () => dialog.close();
    dialog.onclose = () => {
      map = null;
      resolve(answer);
    };
  });
}
