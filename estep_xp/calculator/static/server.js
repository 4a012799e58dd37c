// Talking with the server: requests in order, and what is said when one fails.

export const find = (id) => document.getElementById(id);

export class Refusal extends Error {}

const RETRY = 1500; // ms

export async function post(path, body) {
  const response = await fetch(path, { method: "POST", body });
  if (!response.ok) throw new Refusal((await response.text()) || `error ${response.status}`);
  return response.json();
}

export function report(error, retry) {
  const banner = find("trouble");
  banner.textContent =
    error instanceof Refusal
      ? `The server could not answer: ${error.message}`
      : "The server does not answer; what is shown is the last result. Start it again with: estep-xp calculator";
  banner.hidden = false;
  find("results").classList.add("stale");
  if (!(error instanceof Refusal)) setTimeout(retry, RETRY);
}

// One request at a time, and one more for all that changed meanwhile: answers come in order, and
// the last one is of what stands in the fields.
export function paced(request) {
  let running = false;
  let again = false;
  const run = async () => {
    again = true;
    if (running) return;
    running = true;
    try {
      while (again) {
        again = false;
        await request();
      }
    } catch (error) {
      report(error, run);
    } finally {
      running = false;
    }
  };
  return run;
}
