/** A plugin for Vite: the runtime and the model go with what is built, beside the script. */
export default function anymask(): { name: string };
