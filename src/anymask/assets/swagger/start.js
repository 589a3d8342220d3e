// The addresses of this server; with ?token=... in the page's own address, every request brings it.
const token = new URLSearchParams(location.search).get("token");

window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // it would send the addresses to a server elsewhere
  requestInterceptor(request) {
    if (token) request.headers.Authorization = `Bearer ${token}`;
    return request;
  },
});
