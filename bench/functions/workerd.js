// The same as functions/web: the body of a POST in upper case.
export default {
  async fetch(request) {
    return new Response((await request.text()).toUpperCase());
  },
};
