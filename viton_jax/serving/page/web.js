// A try-on in the browser: reads files, makes the model's arrays, shows the
// picture. Nothing is sent anywhere, unless the user names a server.

import * as ort from './ort/ort.webgpu.min.mjs';

const MAX_BYTES = 64 * 2 ** 20;
const MAX_PIXELS = 64e6;
const INPUTS = ['person', 'garment', 'garment_mask', 'keypoints', 'parse'];
const at = (id) => document.getElementById(id);
const given = {};  // Files by the names of the inputs.
let model = null, session = null, weights = null;

// What a user can mend; everything else is a defect.
class Refusal extends Error {}

ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
// More than one thread needs the headers that serve.py sends.
ort.env.wasm.numThreads = self.crossOriginIsolated
  ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;

function state(text, kind = '') {
  at('state').textContent = text;
  at('state').className = `state ${kind}`;
}

function progress(text, share = 0) {
  at('wait').hidden = !text;
  at('wait').querySelector('p').textContent = text;
  at('wait').querySelector('.bar').style.setProperty('--done', `${100 * share}%`);
}

function fail(error) {
  at('error').hidden = false;
  at('error').textContent = error instanceof Refusal
    ? error.message : `this failed: ${error.message || error}`;
}

async function download(url, what) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new Refusal(`${what} cannot be read; is the folder complete?`);
  const total = Number(response.headers.get('content-length')) || 0;
  const parts = [];
  let size = 0;
  for (const reader = response.body.getReader(); ;) {
    const {done, value} = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    progress(`reading ${what}, ${(size / 2 ** 20).toFixed(0)} MB`, total ? size / total : 0);
  }
  return new Blob(parts).arrayBuffer();
}

// What was cut or damaged on its way to the server or from it would run, or
// fail, in ways that no sentence explains.
async function sound(data) {
  const {bytes, sha256} = model.graph;
  // Origins without encryption have no digests; localhost has.
  const digest = await crypto.subtle?.digest('SHA-256', data);
  const hex = digest && Array.from(
    new Uint8Array(digest), (x) => x.toString(16).padStart(2, '0')).join('');
  if (data.byteLength !== bytes || (hex && hex !== sha256)) {
    throw new Refusal('the file try_on.onnx is damaged: it is not the one that was exported; copy the folder again.');
  }
  return data;
}

function described(data) {
  let found = null;
  try {
    found = JSON.parse(new TextDecoder().decode(data));
  } catch { /* Told below. */ }
  const whole = ['height', 'width'].every((x) => Number.isInteger(found?.[x]) && found[x] > 0)
    && typeof found.graph?.sha256 === 'string'
    && Array.isArray(found.reasons)
    && INPUTS.every((x) => {
      const {dtype, shape} = found.inputs?.[x] ?? {};
      return ['uint8', 'float32'].includes(dtype)
        && Array.isArray(shape) && shape.slice(1).every(Number.isInteger);
    });
  if (!whole) throw new Refusal('the file model.json is damaged or of another version; copy the folder again.');
  return found;
}

async function open() {
  const device = at('device').value;
  if (session?.device === device) return session.run;
  if (device === 'webgpu' && !(await navigator.gpu?.requestAdapter().catch(() => null))) {
    throw new Refusal('this browser has no WebGPU; choose WebAssembly in the settings.');
  }
  weights ||= await sound(await download('try_on.onnx', 'the networks'));
  progress('preparing the networks', 1);
  await new Promise((resume) => setTimeout(resume, 30));
  await session?.run.release();
  session = null;
  const run = await ort.InferenceSession.create(new Uint8Array(weights), {
    executionProviders: device === 'webgpu' ? ['webgpu', 'wasm'] : ['wasm'],
    logSeverityLevel: 3,
  });
  session = {device, run};
  return run;
}

async function bitmap(file, name) {
  if (file.size > MAX_BYTES) throw new Refusal(`${name}: has more than 64 MB; give a smaller picture.`);
  const made = await createImageBitmap(file).catch(() => null);
  if (!made) throw new Refusal(`${name}: is no picture that this browser can read.`);
  if (made.width * made.height > MAX_PIXELS) throw new Refusal(`${name}: is too large; give a smaller picture.`);
  return made;
}

// Where a picture lies in the model's frame: whole, and in its middle.
function placed(picture) {
  const scale = Math.min(model.width / picture.width, model.height / picture.height);
  const w = picture.width * scale, h = picture.height * scale;
  return {scale, x: (model.width - w) / 2, y: (model.height - h) / 2, w, h};
}

function drawn(picture, {smooth = true, ground = '#fff'} = {}) {
  const canvas = new OffscreenCanvas(model.width, model.height);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.fillStyle = ground;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = 'high';
  const {x, y, w, h} = placed(picture);
  context.drawImage(picture, x, y, w, h);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

function channels(rgba, count) {
  const out = new Uint8Array(rgba.length / 4 * count);
  for (let i = 0, j = 0; i < rgba.length; i += 4) {
    for (let c = 0; c < count; c++) out[j++] = rgba[i + c];
  }
  return out;
}

// The first person of OpenPose's JSON, or 18 rows of x, y, confidence.
function joints(text, picture) {
  let numbers;
  try {
    const data = JSON.parse(text);
    numbers = Array.isArray(data) ? data.flat() : data.people[0].pose_keypoints_2d;
  } catch {
    throw new Refusal('joints: are not OpenPose JSON of a person.');
  }
  if (!(numbers?.length === 54 && numbers.every(Number.isFinite))) {
    throw new Refusal('joints: need 18 joints of x, y and confidence (OpenPose COCO).');
  }
  const {scale, x, y} = placed(picture);
  // Centres of pixels, of the photo and of the frame.
  const move = (value, shift) => (value + 0.5) * scale + shift - 0.5;
  return Float32Array.from(numbers, (value, i) => {
    const seen = numbers[i - i % 3 + 2] > 0;
    if (i % 3 === 2) return value;
    return seen ? move(value, i % 3 ? y : x) : 0;
  });
}

function labels(picture, photo) {
  if (picture.width !== photo.width || picture.height !== photo.height) {
    throw new Refusal(`labels: are ${picture.width} x ${picture.height}, the photo ${photo.width} x ${photo.height}; give one of its size.`);
  }
  const values = channels(drawn(picture, {smooth: false, ground: '#000'}), 1);
  if (values.some((value) => value > 19)) throw new Refusal('labels: go beyond 19; give a PNG of LIP-20 numbers, not of colours.');
  if (!values.some((value) => value === 5)) throw new Refusal('labels: show no upper garment (5), so there is nothing to dress.');
  return values;
}

function maskOf(picture) {
  const values = channels(drawn(picture, {smooth: false, ground: '#000'}), 1);
  return values.map((value) => value > 127);
}

// Without a mask: what differs from the median of the border.
function maskFrom(rgb) {
  const {width: w, height: h} = model;
  const border = [0, 1, 2].map((c) => {
    const values = [];
    for (let y = 0; y < h; y++) values.push(rgb[3 * y * w + c], rgb[3 * (y * w + w - 1) + c]);
    return values.sort((a, b) => a - b)[values.length >> 1];
  });
  return Uint8Array.from({length: w * h}, (_, i) => Number(
    Math.max(...border.map((value, c) => Math.abs(rgb[3 * i + c] - value))) > 24));
}

async function ask(path, forms) {
  const api = at('api').value.trim().replace(/\/$/, '');
  const body = new FormData();
  for (const [name, file] of Object.entries(forms)) body.append(name, file, name);
  const response = await fetch(api + path, {method: 'POST', body}).catch(() => null);
  if (!response) throw new Refusal(`${api}: does not answer; it must be under this page's origin.`);
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Refusal(`${api}${path}: ${problem.detail || response.status}`);
  }
  return response.blob();
}

async function complete() {
  const files = {...given};
  if (!files.person || !files.garment) throw new Refusal('give a photo of a person and one of a garment, or show the example.');
  if (at('api').value.trim()) {
    progress('asking the server for joints, labels and mask', 0.1);
    files.keypoints ||= await ask('/pose', {person: files.person});
    files.parse ||= await ask('/seg', {person: files.person});
    files.garment_mask ||= await ask('/garment_mask', {garment: files.garment});
  }
  if (!files.keypoints || !files.parse) throw new Refusal("give the person's joints and labels as files, or name a server in the settings.");
  return files;
}

async function arrays(files) {
  const photo = await bitmap(files.person, 'photo of the person');
  const garment = channels(drawn(await bitmap(files.garment, 'photo of the garment')), 3);
  return {
    person: channels(drawn(photo), 3),
    garment,
    garment_mask: files.garment_mask
      ? maskOf(await bitmap(files.garment_mask, 'mask')) : maskFrom(garment),
    keypoints: joints(await files.keypoints.text(), photo),
    parse: labels(await bitmap(files.parse, 'labels'), photo),
  };
}

function show(canvas, rgb) {
  canvas.width = model.width;
  canvas.height = model.height;
  const image = new ImageData(model.width, model.height);
  for (let i = 0, j = 0; i < image.data.length; i += 4) {
    for (let c = 0; c < 3; c++) image.data[i + c] = rgb[j++];
    image.data[i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}

async function tryOn() {
  at('error').hidden = true;
  at('go').disabled = at('sample').disabled = true;
  at('said').textContent = '';
  try {
    const inputs = await arrays(await complete());
    const run = await open();
    progress('computing the try-on', 1);
    await new Promise((resume) => setTimeout(resume, 30));
    const feeds = {};
    for (const [name, values] of Object.entries(inputs)) {
      const spec = model.inputs[name];
      feeds[name] = new ort.Tensor(spec.dtype, values, [1, ...spec.shape.slice(1)]);
    }
    const begin = performance.now();
    const made = await run.run(feeds, ['output', 'reason']);
    const seconds = (performance.now() - begin) / 1000;
    const reason = model.reasons[made.reason.data[0]];
    if (reason) throw new Refusal(`not matched: ${reason}`);
    show(at('output'), made.output.data);
    at('said').textContent = `${seconds.toFixed(1)} s with ${session.device}, ${session.device === 'wasm' ? ort.env.wasm.numThreads + ' thread(s)' : ''}; computed in this browser.`;
    document.body.dataset.seconds = seconds.toFixed(3);
    state('ready', 'ready');
  } catch (error) {
    fail(error);
  } finally {
    progress('');
    at('go').disabled = at('sample').disabled = false;
  }
}

async function preview(name) {
  if (name !== 'person' && name !== 'garment') return;
  show(at(name), channels(drawn(await bitmap(given[name], name)), 3));
}

for (const input of document.querySelectorAll('[data-file]')) {
  input.addEventListener('change', async () => {
    const name = input.dataset.file;
    if (!input.files[0]) return;
    at('error').hidden = true;
    given[name] = input.files[0];
    // Another photo has other joints and labels.
    if (name === 'person') delete given.keypoints, delete given.parse;
    if (name === 'garment') delete given.garment_mask;
    await preview(name).catch(fail);
  });
}

at('sample').addEventListener('click', async () => {
  at('error').hidden = true;
  try {
    const names = {person: 'png', garment: 'png', garment_mask: 'png', parse: 'png', keypoints: 'json'};
    for (const [name, kind] of Object.entries(names)) {
      given[name] = new Blob([await download(`sample/${name}.${kind}`, 'the example')]);
      await preview(name);
    }
  } catch (error) {
    fail(error);
    return;
  } finally {
    progress('');
  }
  await tryOn();
});
at('go').addEventListener('click', tryOn);

try {
  model = described(await download('model.json', 'model.json'));
  progress('');
  for (const id of ['person', 'garment', 'output']) {
    at(id).width = model.width;
    at(id).height = model.height;
  }
  at('go').disabled = at('sample').disabled = false;
  state('ready; nothing leaves this browser', 'ready');
} catch (error) {
  progress('');
  state('not ready', 'down');
  fail(error);
}
