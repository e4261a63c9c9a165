// Photos in the browser: upright, of moderate size, without metadata; and maps
// of numbers as grey PNG files.

const LONGEST = 2048;
const LARGE = 6e6;

export const PROBLEM = 'this file is no picture that the browser can show; '
  + 'save it as JPEG or PNG';

// File -> {canvas, blob, width, height}: turned as its EXIF says, at most 2048
// pixels long, encoded again.
export async function readPhoto(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {imageOrientation: 'from-image'});
  } catch {
    throw new Error(PROBLEM);
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const canvas = makeCanvas(width, height);
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return fromCanvas(canvas, file.type === 'image/jpeg');
}

export async function fromCanvas(canvas, lossy) {
  let blob = null;
  if (!lossy) {
    blob = await toBlob(canvas, 'image/png');
    // Large and opaque: a photo that somebody keeps as PNG.
    if (blob.size > LARGE && opaque(canvas)) blob = null;
  }
  blob ||= await toBlob(canvas, 'image/jpeg', 0.95);
  return {canvas, blob, width: canvas.width, height: canvas.height};
}

export function makeCanvas(width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

const toBlob = (canvas, type, quality) =>
  new Promise((resolve) => canvas.toBlob(resolve, type, quality));

function opaque(canvas) {
  const {data} = canvas.getContext('2d')
    .getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return false;
  return true;
}

export function show(canvas, photo) {
  canvas.width = photo.width;
  canvas.height = photo.height;
  canvas.getContext('2d').drawImage(photo.canvas, 0, 0);
  canvas.hidden = false;
}

// A grey picture -> {values, width, height}, a byte a pixel.
export async function readGrey(blob) {
  const bitmap = await createImageBitmap(blob, {
    colorSpaceConversion: 'none', premultiplyAlpha: 'none',
  });
  const {width, height} = bitmap;
  const context = makeCanvas(width, height).getContext('2d');
  context.drawImage(bitmap, 0, 0);
  const {data} = context.getImageData(0, 0, width, height);
  const values = new Uint8Array(width * height);
  for (let i = 0; i < values.length; i += 1) values[i] = data[4 * i];
  return {values, width, height};
}

const CRC = Uint32Array.from({length: 256}, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function chunk(kind, body) {
  const bytes = new Uint8Array(body.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  for (let i = 0; i < 4; i += 1) bytes[4 + i] = kind.charCodeAt(i);
  bytes.set(body, 8);
  let crc = 0xffffffff;
  for (const byte of bytes.subarray(4, 8 + body.length)) {
    crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  }
  view.setUint32(8 + body.length, (crc ^ 0xffffffff) >>> 0);
  return bytes;
}

// Bytes -> a grey PNG. A canvas writes colours with transparency, and label
// numbers must come through as they are.
export async function writeGrey({values, width, height}) {
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head[8] = 8;
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y += 1) {
    rows.set(values.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  const packed = new Blob([rows]).stream()
    .pipeThrough(new CompressionStream('deflate'));
  const data = new Uint8Array(await new Response(packed).arrayBuffer());
  const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  return new Blob([
    signature, chunk('IHDR', head), chunk('IDAT', data),
    chunk('IEND', new Uint8Array()),
  ], {type: 'image/png'});
}

export function blobOf(base64, type) {
  const text = atob(base64);
  return new Blob([Uint8Array.from(text, (c) => c.charCodeAt(0))], {type});
}
