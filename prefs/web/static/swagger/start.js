// A file of its own, because the page's Content-Security-Policy runs nothing that stands in it.
const place = document.getElementById("docs");
SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  // The badge would send this document's address to swagger.io.
  validatorUrl: null,
});
