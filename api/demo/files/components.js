// Everything a page needs: <script type="module" src="https://milepost.example/demo/components.js"></script>

import { MilepostChecklist } from "./checklist.js";
import { MilepostUsage } from "./usage.js";

for (const [name, made] of [["milepost-checklist", MilepostChecklist], ["milepost-usage", MilepostUsage]]) {
  if (!customElements.get(name)) customElements.define(name, made);
}

export { MilepostChecklist, MilepostUsage };
