"use strict";

// validatorUrl: by default the page would send the description to a server of Swagger's.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", validatorUrl: null, tryItOutEnabled: true });
