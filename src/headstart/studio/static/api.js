// Requests to the server. An answer that is no success becomes an Error with the server's sentence.

/** @param {Response} answer @returns {Promise<any>} */
async function opened(answer) {
  const values = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw new Error(values.error || `The server answered ${answer.status}.`);
  return values;
}

/** @param {string} path @returns {Promise<any>} */
export async function get(path) {
  return opened(await fetch(path));
}

/** @param {string} path @param {object} [values] @returns {Promise<any>} */
export async function post(path, values = {}) {
  const headers = { "content-type": "application/json" };
  return opened(await fetch(path, { method: "POST", headers, body: JSON.stringify(values) }));
}

/**
 * Send the bytes of a file.
 * @param {string} path @param {Blob} content @param {Record<string, string>} [query]
 * @returns {Promise<any>}
 */
export async function send(path, content, query = {}) {
  const headers = { "content-type": "application/octet-stream" };
  return opened(await fetch(`${path}?${new URLSearchParams(query)}`, { method: "POST", headers, body: content }));
}

/**
 * A picture that the server draws, as an address of this page; of a known image, or of bytes that are sent.
 * @param {string} path @param {Record<string, string>} query @param {Blob} [content]
 * @returns {Promise<string>}
 */
export async function drawn(path, query, content) {
  const headers = { "content-type": "application/octet-stream" };
  const answer = await fetch(`${path}?${new URLSearchParams(query)}`, content ? { method: "POST", headers, body: content } : {});
  if (!answer.ok) await opened(answer);
  return URL.createObjectURL(await answer.blob());
}

/** @param {string} id @param {string} version @param {"small"|"large"} [side] @returns {string} */
export function picture(id, version, side = "small") {
  return `/api/picture/${side}/${id}?v=${version}`;
}
