HTMLFormElement.prototype.submit.call(document.getElementById("posted"));
