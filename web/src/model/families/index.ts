/** The families that the page knows, by the name that a bundle's manifest gives. */

import type { Spec } from "../manifest";
import type { Family, MakeFamily, Tables } from "./family";
import { nano } from "./nano";
import { efficientSam, sam, samHq } from "./sam";

const MAKERS: Record<string, MakeFamily> = {
  sam,
  sam_hq: samHq,
  efficient_sam: efficientSam,
  nano,
  small: nano, // the same rules; what was learned is in its bundle's tables.json
};

/** A model's rules; throws for a family that this page does not know. */
export function openFamily(spec: Spec, tables: Tables): Family {
  const make = MAKERS[spec.family];
  if (make) return make(spec, tables);
  throw new Error(
    `Model ${spec.name} has the unknown model family "${spec.family}". Supported families: ` +
      `${Object.keys(MAKERS).join(", ")}. Update anymask.`,
  );
}
