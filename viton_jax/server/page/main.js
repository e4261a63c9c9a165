// Puts the page together: two photos, one request, one picture.

import {call, getBlob, getJson, post, Refusal, tryOn} from './api.js';
import {paint} from './brush.js';
import {readGrey, writeGrey} from './pictures.js';
import * as result from './result.js';
import {Zone} from './zone.js';

const $ = (selector) => document.querySelector(selector);
const STAGES = {
  queued: ['waiting', 10],
  decode: ['reading the photos', 20],
  prepare: ['finding the person and the garment', 40],
  batch: ['trying it on', 65],
  compose: ['putting the picture together', 90],
};
// What is painted by hand most often, the garment first.
const PAINTED = [5, 0, 14, 15, 13, 2, 10, 9, 12, 6, 7, 16, 17];

let info = {labels: [], methods: []};
let people = [];
let personIndex = 0;
let chosen = null; // The gallery's name of the garment.
let labels = null; // Painted, {values, width, height}.
let mask = null;
let abort = null;
let ready = false;
let live = null; // The module, once it is wanted.

// ------------------------------------------------------------- the two photos
const person = new Zone($('#person'), {
  facing: 'user',
  changed: (photo) => {
    labels = null;
    people = [];
    personIndex = 0;
    mark($('#person .thumbs'), photo?.sample);
    showPeople();
    update();
    if (photo && info.pose && !photo.pose) findPeople(photo);
  },
});
const garment = new Zone($('#garment'), {
  facing: 'environment',
  changed: (photo) => {
    mask = null;
    chosen = photo?.name || null;
    mark($('#garment .thumbs'), chosen);
    update();
    if (live?.isLive() && photo) changeLive();
  },
});
const zones = {person, garment};
let lastZone = null;
for (const zone of Object.values(zones)) {
  zone.card.addEventListener('focusin', () => { lastZone = zone; });
  zone.card.addEventListener('pointerenter', () => { lastZone = zone; });
}
document.addEventListener('paste', (event) => {
  const file = [...event.clipboardData.files].find((x) => x.type.startsWith('image/'));
  if (!file || document.querySelector('dialog[open]')) return;
  const empty = person.photo ? garment : person;
  (lastZone || empty).take(file);
});
// A photo that misses its card must not replace the page.
for (const name of ['dragover', 'drop']) {
  window.addEventListener(name, (event) => event.preventDefault());
}

function mark(list, name) {
  for (const button of list.querySelectorAll('button')) {
    button.setAttribute('aria-pressed', button.dataset.name === name);
  }
}

function sentenceOf(error) {
  if (!(error instanceof Refusal)) throw error;
  return error.message;
}

// Who is in the photo: more than one can be chosen from.
async function findPeople(photo) {
  try {
    const found = await (await post('pose', {person: photo.blob})).json();
    if (person.photo !== photo) return;
    people = found.people;
    showPeople();
  } catch (error) {
    if (person.photo === photo && error.status === 422) {
      person.error(sentenceOf(error));
    }
  }
}

function showPeople() {
  const layer = $('#person .people');
  layer.hidden = people.length < 2;
  layer.replaceChildren(...people.map(({pose_keypoints_2d: numbers}, i) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = i + 1;
    button.setAttribute('aria-label', `Person ${i + 1} of ${people.length}`);
    button.setAttribute('aria-pressed', i === personIndex);
    button.onclick = (event) => {
      event.stopPropagation();
      personIndex = i;
      showPeople();
    };
    const {x, y} = onCanvas(numbers[3], numbers[4]); // The neck.
    button.style.left = `${x}%`;
    button.style.top = `${y}%`;
    return button;
  }));
}

// Pixels of the photo -> per cent of the area, in which it is centred.
function onCanvas(x, y) {
  const {width, height} = person.photo;
  const area = person.area.getBoundingClientRect();
  const scale = Math.min(area.width / width, area.height / height);
  return {
    x: 50 + ((x - width / 2) * scale * 100) / area.width,
    y: 50 + ((y - height / 2) * scale * 100) / area.height,
  };
}

// ---------------------------------------------------------------- the brushes
$('#person [data-do=brush]').onclick = async () => {
  const {photo} = person;
  let start = labels;
  let problem = '';
  if (!start) {
    try {
      const blob = photo.parse || await (await post('seg', {
        person: photo.blob, pose: photo.pose, person_index: personIndex,
      })).blob();
      start = await readGrey(blob);
    } catch (error) {
      problem = sentenceOf(error);
      start = empty(photo);
    }
  }
  const painted = await paint({
    title: 'Correct what is worn',
    help: 'Paint what each part is. The upper garment is what is exchanged.',
    photo: photo.canvas,
    start,
    problem,
    colours: info.labels.map((x) => x.colour),
    choices: PAINTED.map((value) => ({
      name: value === 10 ? 'neck, bare torso' : info.labels[value].name, value,
    })),
  });
  if (painted) labels = painted;
};

$('#garment [data-do=brush]').onclick = async () => {
  const {photo} = garment;
  let start = mask;
  let problem = '';
  if (!start) {
    try {
      const answer = await post('garment_mask', {garment: photo.blob});
      start = await readGrey(await answer.blob());
      start.values.forEach((x, i) => { start.values[i] = x > 127; });
    } catch (error) {
      problem = sentenceOf(error);
      start = empty(photo);
    }
  }
  const painted = await paint({
    title: 'Correct the outline of the garment',
    help: 'Paint the garment, and nothing else.',
    photo: photo.canvas,
    start,
    problem,
    colours: [[255, 255, 255], [230, 90, 30]],
    choices: [{name: 'garment', value: 1}, {name: 'background', value: 0}],
  });
  if (painted) {
    mask = painted;
    garment.error('');
    if (live?.isLive()) changeLive();
  }
};

const empty = ({width, height}) =>
  ({width, height, values: new Uint8Array(width * height)});

// ------------------------------------------------------------------ the try-on
async function fields() {
  const file = (id) => $(id).files[0];
  const {photo} = person;
  let pose = photo.pose;
  if (file('#pose')) pose = await file('#pose').text();
  else if (people.length) pose = JSON.stringify({people});
  let outline = file('#mask');
  if (mask) {
    const white = mask.values.map((x) => (x ? 255 : 0));
    outline = await writeGrey({...mask, values: white});
  }
  let parse = file('#parse') || photo.parse;
  if (labels) parse = await writeGrey(labels);
  return {
    person: photo.blob,
    // A painted outline belongs to the photo as this page has it.
    garment: chosen && !outline ? chosen : garment.photo.blob,
    pose,
    parse,
    garment_mask: outline,
    person_index: personIndex,
    method: $('#method').value,
  };
}

function update() {
  const button = $('#try');
  button.disabled = !ready || !person.photo || !garment.photo || Boolean(abort);
  $('#go-live').disabled = !ready || !garment.photo || Boolean(abort);
}

function showProgress({stage, place}) {
  const [text, done] = STAGES[stage] || STAGES.queued;
  const waiting = place > 1 ? `${place - 1} before you` : 'you are next';
  $('#wait p').textContent = stage === 'queued' ? `${text}: ${waiting}` : `${text} …`;
  $('.bar').setAttribute('aria-valuenow', done);
  $('.bar i').style.setProperty('--done', `${done}%`);
}

function showError(error) {
  const sentence = sentenceOf(error);
  const place = {
    person: '#person', pose: '#person', parse: '#person', person_index: '#person',
    garment: '#garment', garment_mask: '#garment',
  }[error.about] || '#result';
  const box = $(`${place} .error`);
  box.textContent = sentence;
  box.hidden = false;
  box.scrollIntoView({block: 'nearest'});
}

$('#try').onclick = async () => {
  for (const box of document.querySelectorAll('main .error')) box.hidden = true;
  abort = new AbortController();
  update();
  $('#wait').hidden = false;
  $('#stage').toggleAttribute('data-busy', true);
  showProgress({stage: 'queued', place: 1});
  try {
    const sent = await fields();
    const before = sent.person;
    const made = await tryOn(sent, {signal: abort.signal, progress: showProgress});
    await result.display(before, made);
    $('#attach-toggle').setAttribute('aria-pressed', false);
    attached = {sent, made, blob: null};
    $('#stage').scrollIntoView({block: 'nearest', behavior: 'smooth'});
  } catch (error) {
    if (error.name !== 'AbortError') showError(error);
  } finally {
    abort = null;
    $('#wait').hidden = true;
    $('#stage').toggleAttribute('data-busy', false);
    update();
  }
};
$('#cancel').onclick = () => abort?.abort();

// ------------------------------------------------------------------- live view
let session = null; // For a garment of one's own, which has no name.

async function liveGarment() {
  if (chosen && !mask) return {garment: chosen};
  session ||= (await (await call('sessions', {method: 'POST'})).json()).session;
  const body = new FormData();
  body.append('garment', garment.photo.blob, 'garment');
  if (mask) {
    const white = mask.values.map((x) => (x ? 255 : 0));
    body.append('garment_mask', await writeGrey({...mask, values: white}), 'mask');
  }
  await call(`sessions/${session}/garment`, {method: 'PUT', body});
  return {session};
}

async function changeLive() {
  try {
    live.wear(await liveGarment());
  } catch (error) {
    if (error.status === 404) session = null; // It was forgotten meanwhile.
    showError(error);
  }
}

function showLive(on) {
  $('#go-live').setAttribute('aria-pressed', on);
  $('#stage').hidden = on;
  for (const part of ['#done', '#steps']) {
    $(part).hidden = on || $('#stage').hasAttribute('data-empty');
  }
}

$('#go-live').onclick = async () => {
  if (live?.isLive()) return $('#live [data-do=stop]').click();
  for (const box of document.querySelectorAll('main .error')) box.hidden = true;
  try {
    live ||= await import('./live.js');
    const worn = await liveGarment();
    showLive(true);
    await live.start(worn, () => showLive(false));
    if (!live.isLive()) showLive(false);
  } catch (error) {
    showLive(false);
    showError(error);
  }
  return undefined;
};

// The garment laid flat over the clothes instead, and back.
let attached = null;
$('#attach-toggle').onclick = async () => {
  const button = $('#attach-toggle');
  const on = button.getAttribute('aria-pressed') !== 'true';
  try {
    if (on) {
      const {method, ...sent} = attached.sent;
      attached.blob ||= await (await post('attach', sent)).blob();
      result.showAfter(attached.blob);
    } else {
      await result.display(attached.sent.person, attached.made);
    }
    button.setAttribute('aria-pressed', on);
  } catch (error) {
    showError(error);
  }
};

// --------------------------------------------------- the gallery and the state
function thumb(name, source, choose) {
  const item = document.createElement('li');
  const button = document.createElement('button');
  const image = document.createElement('img');
  button.type = 'button';
  button.dataset.name = name;
  button.setAttribute('aria-label', name.replaceAll(/[_-]/g, ' '));
  button.setAttribute('aria-pressed', false);
  image.alt = '';
  image.src = source;
  button.append(image);
  button.onclick = choose;
  item.append(button);
  return item;
}

async function thumbs(list, names, {small, choose}) {
  const items = await Promise.all(names.map(async (name) => thumb(
    name, URL.createObjectURL(await getBlob(small(name))), () => choose(name),
  )));
  list.replaceChildren(...items);
  list.parentElement.hidden = !items.length;
}

async function loadGallery() {
  const {garments} = await getJson('garments');
  await thumbs($('#garment .thumbs'), garments.map((x) => x.name), {
    small: (name) => `garments/${name}?height=176`,
    choose: async (name) => garment.take(await getBlob(`garments/${name}`), {name}),
  });
  const {samples} = await getJson('samples');
  await thumbs($('#person .thumbs'), samples.map((x) => x.name), {
    small: (name) => `samples/${name}/photo?height=176`,
    choose: async (name) => {
      const [photo, pose, parse] = await Promise.all([
        getBlob(`samples/${name}/photo`),
        call(`samples/${name}/pose`).then((x) => x.text()),
        getBlob(`samples/${name}/parse`),
      ]);
      person.take(photo, {sample: name, pose, parse});
    },
  });
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function watch() {
  const state = $('#state');
  let known = false;
  for (;;) {
    let answer = null;
    try {
      answer = await (await fetch('info')).json();
    } catch {
      // The server is not there: told below.
    }
    ready = Boolean(answer?.ready);
    state.className = `state ${ready ? 'ready' : answer ? '' : 'down'}`;
    state.textContent = ready ? 'ready' : answer ? 'warming up' : 'not reachable';
    update();
    if (ready && !known) {
      known = true;
      info = answer;
      $('#go-live').hidden = !info.live;
      $('#kept').textContent = info.records
        ? 'This server keeps the results.'
        : 'Your photos are worked on by this server and kept nowhere.';
      $('#method').append(...info.methods.map((name) => new Option(
        {viton: 'networks', paste: 'pasted, without networks'}[name] || name, name,
      )));
      await loadGallery();
      if (person.photo && info.pose && !people.length) findPeople(person.photo);
    }
    await sleep(ready ? 5000 : 700);
  }
}

window.addEventListener('resize', () => person.photo && showPeople());
watch();
