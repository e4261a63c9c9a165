// The server's REST interface. Addresses are relative: the page works under
// any prefix that a proxy gives it.

export class Refusal extends Error {
  // A problem of RFC 9457: one sentence, and what it is about.
  constructor(problem) {
    super(problem.detail);
    this.status = problem.status;
    this.about = problem.about;
  }
}

let key = sessionStorage.getItem('key') || '';
let asking = null;

export const currentKey = () => key;

// Asks for the key in a dialog, once for all requests that wait for it.
function askForKey() {
  const dialog = document.querySelector('#key');
  const input = dialog.querySelector('input');
  asking ||= new Promise((resolve) => {
    input.value = '';
    dialog.addEventListener('close', () => {
      key = input.value.trim();
      sessionStorage.setItem('key', key);
      asking = null;
      resolve();
    }, {once: true});
    dialog.showModal();
  });
  return asking;
}

export async function call(path, options = {}) {
  for (;;) {
    const headers = {...options.headers};
    const used = key;
    if (used) headers.Authorization = `Bearer ${used}`;
    let response;
    try {
      response = await fetch(path, {...options, headers});
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Refusal({
        status: 0,
        detail: 'the server cannot be reached; check that it runs, then try again',
      });
    }
    if (response.ok) return response;
    if (response.status === 401) {
      if (used === key) await askForKey();
      continue;
    }
    throw new Refusal(await problemOf(response));
  }
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return {
      status: response.status,
      detail: `the server answers ${response.status}; try again later`,
    };
  }
}

export const getJson = async (path) => (await call(path)).json();

export const getBlob = async (path) => (await call(path)).blob();

export function post(path, fields, options = {}) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) body.append(name, value, name);
    else if (value !== null && value !== undefined && value !== '') {
      body.append(name, String(value));
    }
  }
  return call(path, {...options, method: 'POST', body});
}

// A try-on whose stages are told one by one; resolves to the result.
export async function tryOn(fields, {signal, progress}) {
  const response = await post('try_on', fields, {
    signal,
    headers: {Accept: 'application/x-ndjson'},
  });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const {done, value} = await reader.read();
    text += decoder.decode(value || new Uint8Array(), {stream: !done});
    const lines = text.split('\n');
    text = lines.pop();
    for (const line of lines.filter(Boolean)) {
      const message = JSON.parse(line);
      if (message.problem) throw new Refusal(message.problem);
      if (message.result) return message.result;
      progress(message);
    }
    if (done) {
      throw new Refusal({
        status: 0, detail: 'the connection was lost; try again',
      });
    }
  }
}
