/** Photos and prompts in, masks out, in the page that imports it; the model runs in two workers. */
import type { Anymask, LoadOptions } from "./types.js";
export type * from "./types.js";
/** Open a model. Throws an Error that says what was wanted, where its files are not there. */
export declare function load(options?: LoadOptions): Promise<Anymask>;
