/** The form for the access token of a server, in place of the page. */

import { hasToken, keepToken } from "../store/server";
import { form, h } from "./dom";

export function showSignIn(root: HTMLElement): void {
  const field = h("input", {
    class: "label",
    id: "token",
    type: "password",
    autocomplete: "current-password",
    required: true,
  });
  const wrong = hasToken() && "The token is not valid. Check it and try again.";
  const signIn = () => {
    keepToken(field.value.trim());
    location.reload();
  };
  const element = form(
    { class: "sign-in" },
    signIn,
    h("h1", {}, "anymask"),
    h("p", {}, "This server requires an access token. Its administrator can give you one."),
    h("label", { for: "token" }, "Access token"),
    field,
    wrong && h("p", { class: "wrong", role: "alert" }, wrong),
    h("button", { class: "button primary large", type: "submit" }, "Continue"),
  );
  root.replaceChildren(h("main", { class: "waiting" }, element));
  field.focus();
}
