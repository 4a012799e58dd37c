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
