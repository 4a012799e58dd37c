// Rows of components: a number and a slider for each parameter, in step with the lists.
import { find } from "./server.js";

const words = (text) => text.split(/[\s,]+/).filter(Boolean);

function numbersOf(field) {
  return [...document.querySelectorAll(`textarea[data-field=${field}]`)];
}

// A row's number goes into its list; a list that does not fit the rows is written anew.
export function moveParameter(control) {
  const { field, component } = control.dataset;
  const numbers = numbersOf(field);
  const values = words(find(field).value);
  const fresh = values.length === numbers.length ? values : numbers.map((other) => other.value.trim());
  fresh[component] = control.value.trim();
  const row = control.closest(".parameter");
  if (control.type === "range") row.querySelector("textarea").value = control.value;
  else if (row.querySelector("input") && control.value.trim() !== "") row.querySelector("input").value = control.value;
  find(field).value = fresh.join(", ");
}

// Marks the numbers that the server refused; says why below the rows if it was in a row that a
// person typed, since the list, which has the message, may be out of sight.
export function markNumbers(errors, typedHere) {
  const messages = [];
  for (const field of ["means", "variances", "weights"]) {
    const position = Number(/^value (\d+)/.exec(errors[field] ?? "")?.[1]);
    numbersOf(field).forEach((number, j) => {
      number.toggleAttribute("aria-invalid", false);
      if (j + 1 === position) number.setAttribute("aria-invalid", "true");
    });
    if (errors[field]) messages.push(`${field}: ${errors[field]}`);
  }
  find("row-trouble").textContent = messages.join("; ");
  find("row-trouble").hidden = !(typedHere && messages.length);
}

// The lists without one component.
export function withoutComponent(texts, component) {
  const fields = { ...texts };
  for (const field of ["means", "variances", "weights"]) {
    const values = words(texts[field]);
    if (values.length === 0) continue; // weights left empty are equal
    values.splice(component, 1);
    fields[field] = values.join(", ");
  }
  return fields;
}
