// The page's side of the worker: every task is a promise.

export class Engine {
  #worker;
  #waiting = new Map();
  #count = 0;
  #failure; // of the worker itself

  constructor() {
    // A worker of a blob inherits the page's policy; one of a file would be free to reach other origins.
    const script = `import ${JSON.stringify(new URL('worker.js', import.meta.url).href)};`;
    const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
    this.#worker = new Worker(url, { type: 'module' });
    this.#worker.addEventListener('message', ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    });
    this.#worker.addEventListener('error', (event) => {
      this.#failure = new Error(event.message ?? 'the worker did not start');
      for (const { reject } of this.#waiting.values()) reject(this.#failure);
      this.#waiting.clear();
    });
  }

  /** Let the worker do one of its tasks; `moved` are buffers that it takes over. */
  do(task, values, moved = []) {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#count++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, task, values }, moved);
    });
  }
}

/** Download a file; `report` is called with the number of bytes that have arrived since its last call. */
export async function download(path, report = () => {}) {
  const response = await fetch(path, { cache: 'no-cache' }); // a new build has the same names
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`);
  const chunks = [];
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Blob(chunks).arrayBuffer();
    chunks.push(value);
    report(value.length);
  }
}
