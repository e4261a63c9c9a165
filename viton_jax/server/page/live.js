// The live view: frames of the camera go over a WebSocket, pictures come back.
// One frame is on its way at a time, always the camera's newest.

import {currentKey} from './api.js';
import {available, INSECURE, sentence, stopCamera} from './camera.js';
import {makeCanvas} from './pictures.js';

const VIEWS = ['input', 'pose', 'segmentation', 'try-on', 'attached', 'garment'];
const LONGEST = 640;
const box = document.querySelector('#live');
const $ = (selector) => box.querySelector(selector);
const video = $('video');
const error = $('.error');
const figures = new Map();
let run = null; // {socket, wanted, sent, sentAt, stopped, ...} while live.
let facing = 'user';

for (const name of VIEWS) {
  const figure = document.createElement('figure');
  const canvas = makeCanvas(480, 640);
  const caption = document.createElement('figcaption');
  const button = document.createElement('button');
  figure.dataset.view = name;
  caption.textContent = button.textContent = name;
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `Live: ${name}`);
  figure.append(canvas, caption);
  figure.hidden = name !== 'try-on';
  button.type = 'button';
  button.setAttribute('aria-pressed', !figure.hidden);
  button.onclick = () => {
    if (!figure.hidden && chosen().length === 1) return;
    figure.hidden = !figure.hidden;
    button.setAttribute('aria-pressed', !figure.hidden);
    say({views: chosen()});
  };
  if (name === 'try-on') {
    canvas.onclick = (event) => {
      const {left, top, width, height} = canvas.getBoundingClientRect();
      say({person: [(event.clientX - left) / width, (event.clientY - top) / height]});
    };
  }
  $('.views').append(figure);
  $('.choices').append(button);
  figures.set(name, canvas);
}

const chosen = () => VIEWS.filter((x) => !figures.get(x).parentElement.hidden);

function complain(text) {
  error.textContent = text || '';
  error.hidden = !text;
}

function say(wishes) {
  if (run?.socket?.readyState === WebSocket.OPEN) run.socket.send(JSON.stringify(wishes));
}

async function openCamera(mine) {
  stopCamera(video);
  video.srcObject = await navigator.mediaDevices.getUserMedia({
    audio: false,
    video: {facingMode: facing, width: {ideal: 640}, height: {ideal: 480}},
  });
  if (run !== mine) return stopCamera(video);
  await video.play();
  const devices = await navigator.mediaDevices.enumerateDevices();
  $('[data-do=turn]').hidden = devices.filter((x) => x.kind === 'videoinput').length < 2;
  return undefined;
}

function connect(mine) {
  const address = new URL('live', location.href);
  address.protocol = address.protocol.replace('http', 'ws');
  const socket = new WebSocket(address);
  socket.binaryType = 'arraybuffer';
  mine.socket = socket;
  socket.onopen = () => {
    const key = currentKey();
    socket.send(JSON.stringify({...(key && {key}), views: chosen()}));
    if (mine.garment) socket.send(JSON.stringify(mine.garment));
    mine.waiting = 0;
    send(mine);
  };
  socket.onmessage = ({data}) => {
    if (typeof data === 'string') told(mine, JSON.parse(data));
    else receive(mine, data);
  };
  socket.onclose = ({code}) => {
    if (run !== mine) return;
    if (code === 1008 || code === 1013) stop(error.textContent);
    else {
      complain('the connection was lost; it is tried again');
      setTimeout(() => run === mine && connect(mine), 1000);
    }
  };
}

function told(mine, {message, problem, garment}) {
  if (problem) complain(problem.detail);
  if (garment !== undefined) box.dataset.garment = garment;
  if (message !== undefined) $('.said').textContent = message;
}

// Draws the newest picture of the camera and sends it.
function send(mine) {
  if (run !== mine || mine.paused || mine.socket.readyState !== WebSocket.OPEN) return;
  if (!video.videoWidth) {
    setTimeout(() => send(mine), 50);
    return;
  }
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  const {canvas} = mine;
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
  const begin = performance.now();
  mine.waiting = chosen().length;
  canvas.toBlob(async (blob) => {
    const frame = new Uint8Array(8 + blob.size);
    mine.number += 1;
    new DataView(frame.buffer).setUint32(0, mine.number);
    frame.set(new Uint8Array(await blob.arrayBuffer()), 8);
    mine.sentAt = begin;
    if (mine.socket.readyState === WebSocket.OPEN) mine.socket.send(frame);
  }, 'image/jpeg', 0.85);
}

async function receive(mine, data) {
  const head = new DataView(data);
  const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 8)]));
  const canvas = figures.get(VIEWS[head.getUint8(4)]);
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('2d').drawImage(bitmap, 0, 0);
  bitmap.close();
  mine.waiting -= 1;
  if (mine.waiting > 0 || run !== mine) return;
  count(mine);
  send(mine);
}

function count(mine) {
  const now = performance.now();
  mine.times.push([now, now - mine.sentAt]);
  while (now - mine.times[0][0] > 2000) mine.times.shift();
  const {length} = mine.times;
  const latency = mine.times.map((x) => x[1]).sort((a, b) => a - b)[length >> 1];
  box.dataset.shown = Number(box.dataset.shown || 0) + 1;
  if (now - mine.toldAt < 500) return;
  mine.toldAt = now;
  $('.rate').textContent = `${Math.round(length / 2)} pictures a second, ${Math.round(latency)} ms`;
}

function stop(reason) {
  const mine = run;
  run = null;
  stopCamera(video);
  mine?.socket?.close();
  box.hidden = !reason;
  complain(reason);
  mine?.ended();
}

$('[data-do=stop]').onclick = () => stop();
$('[data-do=turn]').onclick = () => {
  facing = facing === 'user' ? 'environment' : 'user';
  openCamera(run).catch((reason) => complain(sentence(reason)));
};
$('[data-do=pause]').onclick = (event) => {
  run.paused = !run.paused;
  event.target.setAttribute('aria-pressed', run.paused);
  if (!run.paused) send(run);
};
$('[data-do=keep]').onclick = () => {
  const link = document.createElement('a');
  link.download = 'live.png';
  link.href = figures.get('try-on').toDataURL('image/png');
  link.click();
};

export const isLive = () => Boolean(run);

// Changes the garment: {garment: name} of the gallery, or {session}.
export function wear(garment) {
  if (!run) return;
  run.garment = garment;
  complain('');
  say(garment);
}

// ended() is called when it is over, for whatever reason.
export async function start(garment, ended) {
  if (run) stop();
  box.hidden = false;
  complain('');
  if (!available()) {
    complain(INSECURE);
    return;
  }
  const mine = {
    garment, ended, canvas: makeCanvas(1, 1), number: 0, times: [], toldAt: 0,
    sentAt: 0, waiting: 0, paused: false, socket: null,
  };
  run = mine;
  $('.said').textContent = 'starting the camera';
  $('[data-do=pause]').setAttribute('aria-pressed', false);
  try {
    await openCamera(mine);
    if (run === mine) connect(mine);
  } catch (reason) {
    if (run === mine) stop(sentence(reason));
  }
}
