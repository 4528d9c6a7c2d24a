#!/usr/bin/perl

# Why: a target that nginx and the tenant API read differently is a way from
# one tenant to the next.  What passes has one reading, and arrives as sent.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

begin($t);

my $base = '/tenants/acme/mail';
my $grant = $t->grant(life => 3600);

# Sends a request line, as it is, with the grant.
sub send_line {
    my ($line, @headers) = @_;

    return $t->http_raw(join "\r\n", $line, 'Host: localhost',
                        "Authorization: Bearer $grant", 'Connection: close',
                        @headers, '', '');
}

sub judge {
    my ($word, $name, $response) = @_;

    if ($word eq 'allow') {
        let_through($response, $name);

    } elsif ($word =~ /^\d/) {
        is($response->status, $word, "$name: nginx's own $word");
        unlike($response->head . $response->body, qr/lockbox/,
               "$name: nothing of the gate");
        records();
        return;

    } else {
        refused($response, $word, $name,
                $word =~ /^wrong/ ? qw(asked granted request) : ());
    }

    recorded([ $word ], "$name: on record");
}


# Targets

for my $case (
    [ 'allow', "$base/" ],
    [ 'allow', "$base/x" ],
    [ 'wrong_service', '/tenants/acme/files/x' ],
    [ 'wrong_tenant', '/tenants/globex/mail/x' ],

    # dot segments, plain, escaped and escaped twice
    [ 'ambiguous_target', "$base/../../globex/mail/x" ],
    [ 'ambiguous_target', "$base/./x" ],
    [ 'ambiguous_target', "$base/x/.." ],
    [ 'ambiguous_target', "$base/%2e%2e/files/x" ],
    [ 'ambiguous_target', "$base/%2E/x" ],
    [ 'ambiguous_target', '/tenants/globex/..%2facme/mail/x' ],
    [ 'ambiguous_target', "$base/..%5cx" ],
    [ 'ambiguous_target', "$base/%252e%252e/x" ],
    [ 'ambiguous_target', "/lockbox/..$base/x" ],
    [ 400, "$base/%%32%65%%32%65/x" ],
    [ 'allow', "$base/a..b" ],
    [ 'allow', "$base/.../x" ],
    [ 'allow', "$base/.x" ],

    # slashes
    [ 'ambiguous_target', "/$base/x" ],
    [ 'ambiguous_target', "$base//x" ],
    [ 'ambiguous_target', "$base/a%2fb" ],
    [ 'ambiguous_target', "$base%2Fx/" ],
    [ 'ambiguous_target', "$base/a\\b" ],
    [ 'ambiguous_target', "$base/a%5Cb" ],
    [ 'ambiguous_target', "$base/%ef%bc%8f..%ef%bc%8fx" ],
    [ 'ambiguous_target', "$base/%c0%af" ],

    # parameters, fragments, controls
    [ 'ambiguous_target', "$base/..;/x" ],
    [ 'ambiguous_target', "$base/x;y=1" ],
    [ 'ambiguous_target', "$base/x%3by" ],
    [ 'ambiguous_target', "$base/#/../../globex" ],
    [ 'ambiguous_target', "$base/%23" ],
    [ 'ambiguous_target', "$base/x%3fy" ],
    [ 'ambiguous_target', "$base/x%0d%0aX-Evil:%201" ],
    [ 'ambiguous_target', "$base/x%7f" ],
    [ 400, "$base/x%00" ],
    [ 400, "$base/%" ],
    [ 400, "$base/%zz" ],

    # other spellings of what could be written plainly
    [ 'ambiguous_target', "$base/%78" ],
    [ 'ambiguous_target', '/tenants/%61cme/mail/x' ],
    [ 'ambiguous_target', "$base/%7E" ],
    [ 'ambiguous_target', "$base/\xe2\x82\xac" ],
    [ 'allow', "$base/%E2%82%AC" ],
    [ 'allow', "$base/a%20b" ],
    [ 'allow', "$base/a:b\@c,d+e" ],

    # the query is data
    [ 'allow', "$base/x?a=/../%2f%00;" ],
    [ 'allow', "$base/x?" ],
    [ 'allow', "$base/x?path=..%2f..%2fglobex" ],

    # absolute
    [ 'allow', "http://localhost$base/x", "$base/x" ],
    [ 'ambiguous_target', "http://localhost$base/../x/y" ],
    [ 400, "http://user:pw\@localhost$base/x" ],
) {
    my ($word, $target, $arrives) = @$case;

    judge($word, $target, send_line("GET $target HTTP/1.1"));

    if ($word eq 'allow') {
        is(($t->upstream_requests)[-1]{uri}, $arrives // $target,
           "$target: arrives as sent");
    }
}


# Methods

judge(@$_[0, 1], send_line("$_->[1] $base/x HTTP/1.1")) for (
    [ allow => 'GET' ],
    [ allow => 'HEAD' ],
    [ wrong_method => 'POST' ],
    [ wrong_method => 'DELETE' ],
    [ wrong_method => 'OPTIONS' ],
    [ wrong_method => 'PROPFIND' ],
    [ wrong_method => 'GETX' ],
    [ wrong_method => 'GE' ],
    [ 400 => 'get' ],
    [ 405 => 'TRACE' ],
);

refused($t->http('OPTIONS', "$base/x"), 'no_token', 'OPTIONS is not free');
records();


# Headers that name another method or target

judge('override_header', $_, send_line("GET $base/x HTTP/1.1", "$_: DELETE"))
    for qw(X-HTTP-Method-Override X-HTTP-Method X-Method-Override
           X-Original-Method X-Original-URL X-Original-URI X-Rewrite-URL
           x-http-method-override X-ORIGINAL-URL);

judge('override_header', 'an empty one',
      send_line("GET $base/x HTTP/1.1", 'X-Original-URL:'));
judge('allow', 'another header',
      send_line("GET $base/x HTTP/1.1", 'X-Original-Host: a'));


my @allowed = grep { ($_->{'event.reason'} // '') eq 'allow' }
              $t->json_lines('audit.log');

is(scalar $t->upstream_requests, @allowed,
   'the tenant API saw what was allowed, and nothing else');
is($t->upstream_connections, @allowed, 'and no other connection');

done_testing;
