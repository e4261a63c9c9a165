// The picture: before and after, the steps, the download.

import {blobOf} from './pictures.js';

const card = document.querySelector('#result');
const stage = card.querySelector('#stage');
const wipe = card.querySelector('.wipe');
const range = wipe.querySelector('input');
const large = document.querySelector('#large');
let urls = [];

function url(blob) {
  const made = URL.createObjectURL(blob);
  urls.push(made);
  return made;
}

range.oninput = () => wipe.style.setProperty('--x', `${range.value}%`);
large.querySelector('[data-do=close]').onclick = () => large.close();
large.onclick = (event) => event.target === large && large.close();

function step([name, data], type) {
  const source = url(blobOf(data, type));
  const item = document.createElement('li');
  const button = document.createElement('button');
  const image = document.createElement('img');
  const label = document.createElement('span');
  button.type = 'button';
  button.setAttribute('aria-label', `${name}, enlarge`);
  image.src = source;
  image.alt = '';
  label.textContent = name;
  button.append(image);
  button.onclick = () => {
    large.querySelector('img').src = source;
    large.querySelector('img').alt = name;
    large.querySelector('p').textContent = name;
    large.showModal();
  };
  item.append(button, label);
  return item;
}

export function clear() {
  for (const old of urls) URL.revokeObjectURL(old);
  urls = [];
  stage.toggleAttribute('data-empty', true);
  for (const part of [wipe, card.querySelector('#done'), card.querySelector('#steps')]) {
    part.hidden = true;
  }
}

export async function display(before, result) {
  clear();
  const picture = blobOf(result.picture, result.picture_type);
  const [first, second] = wipe.querySelectorAll('img');
  first.src = url(before);
  second.src = url(picture);
  await Promise.all([first.decode(), second.decode()]);
  range.value = 50;
  range.oninput();
  stage.toggleAttribute('data-empty', false);
  wipe.hidden = false;
  const link = card.querySelector('#download');
  link.href = second.src;
  card.querySelector('#done').hidden = false;
  const steps = card.querySelector('#steps');
  steps.querySelector('.strip').replaceChildren(
    ...Object.entries(result.steps).map((x) => step(x, result.steps_type)),
  );
  steps.querySelector('.notes ul').replaceChildren(...result.notes.map((text) => {
    const item = document.createElement('li');
    item.textContent = text;
    return item;
  }));
  steps.hidden = false;
  return second;
}

export function showAfter(blob) {
  wipe.querySelector('.after').src = url(blob);
}
