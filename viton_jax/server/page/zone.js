// A card that takes one photo: a file, dropped, pasted, or of the camera.

import {available, INSECURE, photograph} from './camera.js';
import {fromCanvas, readPhoto, show} from './pictures.js';

export class Zone {
  // changed(photo or null) is called whenever the photo is another.
  constructor(card, {facing, changed}) {
    this.card = card;
    this.changed = changed;
    this.photo = null;
    this.area = card.querySelector('.zone');
    this.canvas = card.querySelector('.zone > canvas');
    this.input = card.querySelector('input[type=file]');
    this.errorBox = card.querySelector('.error');
    const on = (what, handler) => {
      card.querySelector(`[data-do=${what}]`).onclick = handler;
    };
    on('file', () => this.input.click());
    on('clear', () => this.set(null));
    on('camera', () => this.takePhoto(facing));
    this.input.onchange = () => {
      if (this.input.files.length) this.take(this.input.files[0]);
      this.input.value = '';
    };
    this.area.onclick = () => {
      if (!this.photo) this.input.click();
    };
    card.ondragover = (event) => {
      event.preventDefault();
      this.area.classList.add('over');
    };
    card.ondragleave = (event) => {
      if (!card.contains(event.relatedTarget)) {
        this.area.classList.remove('over');
      }
    };
    card.ondrop = (event) => {
      event.preventDefault();
      this.area.classList.remove('over');
      if (event.dataTransfer.files.length) {
        this.take(event.dataTransfer.files[0]);
      }
    };
  }

  error(sentence) {
    this.errorBox.textContent = sentence || '';
    this.errorBox.hidden = !sentence;
  }

  async take(file, extra = {}) {
    this.error('');
    try {
      this.set({...await readPhoto(file), ...extra});
    } catch (error) {
      this.error(error.message);
    }
  }

  async takePhoto(facing) {
    this.error('');
    if (!available()) {
      this.error(INSECURE);
      return;
    }
    const canvas = await photograph(facing);
    if (canvas) this.set(await fromCanvas(canvas, true));
  }

  set(photo) {
    this.photo = photo;
    this.error('');
    this.area.toggleAttribute('data-empty', !photo);
    this.canvas.hidden = !photo;
    this.card.querySelector('.more').hidden = !photo;
    if (photo) show(this.canvas, photo);
    this.changed(photo);
  }
}
