// A photo from the camera, after a countdown.

import {makeCanvas} from './pictures.js';

export const INSECURE = 'the camera needs https or localhost; open this page '
  + 'under such an address, or choose a photo from a file';

const dialog = document.querySelector('#camera');
const video = dialog.querySelector('video');
const count = dialog.querySelector('.count');
const error = dialog.querySelector('.error');
const take = dialog.querySelector('[data-do=take]');
const turn = dialog.querySelector('[data-do=turn]');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let facing = 'user';
let run = 0;

export function available() {
  return Boolean(window.isSecureContext && navigator.mediaDevices);
}

export function stopCamera(element) {
  for (const track of element.srcObject?.getTracks() || []) track.stop();
  element.srcObject = null;
}

const stop = () => stopCamera(video);

export function sentence(reason) {
  if (reason.name === 'NotAllowedError') {
    return 'the camera is not allowed; allow it in the address bar, or choose '
      + 'a photo from a file';
  }
  if (reason.name === 'NotFoundError') {
    return 'there is no camera; choose a photo from a file';
  }
  return `the camera cannot be opened (${reason.name}); close other programs `
    + 'that use it, or choose a photo from a file';
}

async function start() {
  stop();
  error.hidden = true;
  take.disabled = true;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      audio: false,
      // Not resized: browsers cut the sides off for a wanted shape.
      video: {facingMode: facing, height: {ideal: 1440}, resizeMode: 'none'},
    });
    if (!dialog.open) return stop();
    video.classList.toggle('mirrored', facing === 'user');
    await video.play();
    const devices = await navigator.mediaDevices.enumerateDevices();
    turn.hidden = devices.filter((x) => x.kind === 'videoinput').length < 2;
    take.disabled = false;
    take.focus();
  } catch (reason) {
    if (!dialog.open || reason.name === 'AbortError') return undefined;
    error.textContent = sentence(reason);
    error.hidden = false;
  }
  return undefined;
}

// Resolves to a canvas, or null where nothing was taken.
export function photograph(preferred) {
  facing = preferred;
  dialog.showModal();
  start();
  return new Promise((resolve) => {
    const close = () => dialog.close();
    const other = () => {
      facing = facing === 'user' ? 'environment' : 'user';
      start();
    };
    let taken = null;
    const countdown = async () => {
      const mine = run += 1;
      take.disabled = true;
      for (const n of [3, 2, 1]) {
        count.textContent = n;
        await sleep(1000);
        if (mine !== run || !dialog.open) return;
      }
      count.textContent = '';
      // As others see one, not as in the mirror.
      taken = makeCanvas(video.videoWidth, video.videoHeight);
      taken.getContext('2d').drawImage(video, 0, 0);
      dialog.close();
    };
    take.onclick = countdown;
    turn.onclick = other;
    dialog.querySelector('[data-do=close]').onclick = close;
    dialog.onclose = () => {
      run += 1;
      count.textContent = '';
      stop();
      resolve(taken);
    };
  });
}
