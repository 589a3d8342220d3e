/** The JavaScript API of anymask: images and prompts to masks. The model runs in two workers. */
import type { Anymask, LoadOptions } from "./types.js";
export type * from "./types.js";
/** Load a model. Throws an Error if its files are missing or invalid. */
export declare function load(options?: LoadOptions): Promise<Anymask>;
